// Any bytes as a purgatory, and a sound one with some bytes replaced.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "kernels/purgatory/purgatory.h"
#include "kernels/purgatory/synthetic_purgatory.h"

namespace {

void check(panicroom::Bytes elf) {
  using namespace panicroom::kernels;  // NOLINT(google-build-using-namespace)
  const auto purgatory = read_purgatory(elf);
  if (!purgatory) return;
  if (purgatory->entry >= purgatory->size) std::abort();
  if (purgatory->regions + kPurgatoryRegions * kPurgatoryRegionBytes > purgatory->size) std::abort();
  if (purgatory->digest + kPurgatoryDigestBytes > purgatory->size) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const panicroom::Bytes input(reinterpret_cast<const std::byte*>(data), size);
  check(input);
  if (size < 2) return 0;
  static const auto kSound = panicroom::kernels::build_purgatory();
  auto mutated = kSound;
  const auto at = (std::size_t{data[0]} << 8 | data[1]) % mutated.size();
  const auto length = std::min(size - 2, mutated.size() - at);
  std::copy_n(input.begin() + 2, length, mutated.begin() + static_cast<std::ptrdiff_t>(at));
  check(mutated);
  return 0;
}
