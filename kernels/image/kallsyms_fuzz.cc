// Damaged kallsyms tables in every layout: what decodes must be a sound symbol table.

#include "base/testing/require.h"
#include "kernels/image/kallsyms.h"
#include "kernels/image/synthetic_kernel.h"
#include "kernels/image/synthetic_patch.h"

namespace {

using namespace panicroom;           // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::kernels;  // NOLINT(google-build-using-namespace)

const std::vector<std::byte>& kernel_of(std::uint8_t choice) {
  static const auto kKernels = [] {
    std::vector<std::vector<std::byte>> kernels;
    for (const KallsymsLayout layout :
         {KallsymsLayout::kOffsetsFirstAbsolutePerCpu, KallsymsLayout::kOffsetsLastAbsolutePerCpu,
          KallsymsLayout::kOffsetsLastUnsigned, KallsymsLayout::kOffsetsLastSelfRelative,
          KallsymsLayout::kOffsetsFirstUnsigned}) {
      kernels.push_back(testing::build_kernel({layout, false, true, 8}));
      kernels.push_back(testing::build_kernel({layout, true, false, 4}));
    }
    return kernels;
  }();
  return kKernels[choice % kKernels.size()];
}

void check(const SymbolTable& table) {
  LinkAddress before;
  for (const Symbol& symbol : table.all()) {
    require(before <= symbol.address);
    before = symbol.address;
    require(!symbol.name.empty());
    for (const char c : symbol.name) require(c > ' ' && c <= '~');
    bool found = false;
    for (const Symbol& same : table.find(symbol.name)) found |= same == symbol;
    require(found);
    const auto extent = table.extent(symbol);
    require(extent.has_value() == symbol.text);
    if (extent) {
      require(extent->contains(symbol.address));
      const auto last = table.containing(extent->end - 1);
      require(last && last->symbol.address == symbol.address);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes input = std::as_bytes(std::span(data, size));
  const auto elf = ElfImage::parse(testing::patched(kernel_of(data[0]), input.subspan(1)));
  if (!elf) return 0;
  if (const auto kallsyms = decode_kallsyms(*elf)) check(kallsyms->symbols);
  return 0;
}
