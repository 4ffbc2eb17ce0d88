// Hostile ELF files, as they come and as a damaged kernel: every view must lie within the file.
#include <functional>

#include "base/testing/require.h"
#include "kernels/image/elf_image.h"
#include "kernels/image/synthetic_kernel.h"
#include "kernels/image/synthetic_patch.h"

namespace {

using namespace panicroom;           // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::kernels;  // NOLINT(google-build-using-namespace)

bool within(Bytes part, Bytes whole) {
  return part.empty() || (!std::less<>()(part.data(), whole.data()) &&
                          !std::less<>()(whole.data() + whole.size(), part.data() + part.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const std::vector<std::byte> kKernel = testing::build_kernel({});
  const Bytes input = std::as_bytes(std::span(data, size)).subspan(1);
  const bool raw = data[0] % 2 == 0;
  const auto elf = ElfImage::parse(raw ? std::vector(input.begin(), input.end()) : testing::patched(kKernel, input));
  if (!elf) return 0;
  for (const Segment& segment : elf->segments()) {
    require(within(segment.content, elf->file()) && segment.content.size() <= segment.range.size());
    const Bytes rest = elf->bytes_from(segment.range.begin);
    require(within(rest, elf->file()));
    require(elf->bytes_at(segment.range.begin, rest.size()).has_value());
    require(!elf->bytes_at(segment.range.begin, rest.size() + 1));
  }
  for (const Section& section : elf->sections()) require(within(section.content, elf->file()));
  LinkAddress before;
  for (const LinkRange& range : elf->text_ranges()) {
    require(before <= range.begin && range.begin < range.end);
    before = range.end;
    require(elf->text_range_at(range.begin) == &range && elf->text_range_at(range.end - 1) == &range);
  }
  return 0;
}
