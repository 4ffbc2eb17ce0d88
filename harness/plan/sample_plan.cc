#include "harness/plan/sample_plan.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace panicroom::harness {
namespace {

using kernels::KernelImage;
using vmcore::kPageBytes;

struct Share {
  std::string_view section;
  std::uint64_t pages;
};
constexpr std::array kShares = {Share{".text", 6}, Share{".rodata", 4}, Share{".data", 6}, Share{".bss", 4}};
constexpr std::uint64_t kPagesAnywhere = 20;

// A page of each of `count` equal parts of [begin, end), at a place in it that the part's number decides.
template <typename Take>
void spread(std::uint64_t begin, std::uint64_t end, std::uint64_t count, const Take& take) {
  const std::uint64_t first = (begin + kPageBytes - 1) / kPageBytes;
  const std::uint64_t last = end / kPageBytes;
  if (last <= first) return;
  const std::uint64_t pages = last - first;
  const std::uint64_t parts = std::min(count, pages);
  for (std::uint64_t part = 0; part < parts; ++part) {
    const std::uint64_t from = pages * part / parts;
    const std::uint64_t size = pages * (part + 1) / parts - from;
    take((first + from + vmcore::pattern_word(VcpuId{0}, begin + part) % size) * kPageBytes);
  }
}

}  // namespace

vmcore::SamplePlan plan_samples(const KernelImage& kernel, std::uint64_t memory_bytes) {
  vmcore::SamplePlan plan;
  for (const Share& share : kShares) {
    const auto* section = kernel.elf().section(share.section);
    if (section == nullptr) continue;
    spread(section->range.begin.value, section->range.end.value, share.pages,
           [&](std::uint64_t page) { plan.kernel_pages.push_back({page}); });
  }
  const auto pointer = kernel.symbols().unique("log_buf");
  const auto length = kernel.symbols().unique("log_buf_len");
  if (pointer && length) plan.log_buffer = vmcore::SamplePlan::Buffer{pointer->address, length->address};
  if (const auto tables = kernel.symbols().unique("init_top_pgt")) plan.page_tables = tables->address;
  // A PC's memory has a gap below 4 GiB, behind which the rest of a large one lies. What falls into it is nobody's.
  constexpr std::uint64_t kGap = std::uint64_t{1} << 30;
  const std::uint64_t end = memory_bytes > 3 * kGap ? memory_bytes + kGap : memory_bytes;
  spread(0, end, kPagesAnywhere, [&](std::uint64_t page) { plan.physical_pages.push_back({page}); });
  return plan;
}

bool is_constant(const KernelImage& kernel, LinkAddress address) {
  for (const std::string_view name : {".text", ".rodata"}) {
    const auto* section = kernel.elf().section(name);
    if (section != nullptr && section->range.contains(address)) return true;
  }
  return false;
}

}  // namespace panicroom::harness
