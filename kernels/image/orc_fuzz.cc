// Any bytes as a kernel's ORC tables: the first half as addresses, the second as entries.
#include <elf.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "kernels/image/orc.h"
#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels {
namespace {

void fuzz(Bytes input) {
  const Bytes addresses = input.first(input.size() / 2);
  const Bytes entries = input.subspan(input.size() / 2);
  const auto image = ElfImage::parse(testing::build_elf(
      {{".orc_unwind_ip", testing::kSyntheticRodata, SHF_ALLOC, {addresses.begin(), addresses.end()}},
       {".orc_unwind", testing::kSyntheticData, SHF_ALLOC, {entries.begin(), entries.end()}}}));
  if (!image) return;
  const auto table = OrcTable::find(*image, {testing::kSyntheticText});
  if (!table) return;
  if (table->size() * 6 > entries.size()) std::abort();
  for (std::uint64_t at = 0; at < 0x1000; at += 0x3f) {
    static_cast<void>(table->at({testing::kSyntheticText + at}));
    static_cast<void>(table->at({testing::kSyntheticRodata + at}));
    static_cast<void>(table->at({at * 0x10001000100010}));
  }
}

}  // namespace
}  // namespace panicroom::kernels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  panicroom::kernels::fuzz(std::as_bytes(std::span(data, size)));
  return 0;
}
