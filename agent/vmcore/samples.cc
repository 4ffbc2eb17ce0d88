#include "agent/vmcore/samples.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace panicroom::vmcore {
namespace {

bool is_kernel_address(std::uint64_t address) { return (address >> 63) != 0; }

class Sampler {
 public:
  Sampler(const SampleContext& context, Memory& memory, const TakeSample& take)
      : context_(context), memory_(memory), take_(take) {}

  void take_virtual(SampleKind kind, std::uint64_t address, std::uint64_t bytes) {
    take_if_new(kind, address, bytes, [&](std::span<std::byte> out) { return memory_.read_virtual({address}, out); });
  }

  void take_physical(SampleKind kind, std::uint64_t address) {
    take_if_new(kind, address, kPageBytes,
                [&](std::span<std::byte> out) { return memory_.read_physical({address}, out); });
  }

  void take_log_buffer(const SamplePlan::Buffer& buffer) {
    std::uint64_t at = 0;
    std::uint32_t length = 0;
    const Gva pointer = buffer.pointer + context_.slide;
    const Gva length_at = buffer.length + context_.slide;
    auto read = memory_.read_virtual(pointer, std::as_writable_bytes(std::span(&at, 1)));
    if (read) read = memory_.read_virtual(length_at, std::as_writable_bytes(std::span(&length, 1)));
    if (!read) {
      take_({SampleKind::kLogBuffer, pointer.value, sizeof(at), {}, read.error().message()});
      return;
    }
    const std::uint64_t pages = std::min<std::uint64_t>(length / kPageBytes, kMaxLogPages);
    for (std::uint64_t page = 0; page < pages; page += kLogStride) {
      take_virtual(SampleKind::kLogBuffer, at + page * kPageBytes, kPageBytes);
    }
  }

  void take_page_tables(Gva address) {
    const auto walk =
        walk_page_tables(*context_.top_table, context_.paging_levels, address,
                         [&](Gpa at, std::span<std::byte> out) { return memory_.read_physical(at, out); });
    if (!walk) {
      take_({SampleKind::kPageTable, address.value, kPageBytes, {}, walk.error().message()});
      return;
    }
    for (const Gpa table : walk->tables) take_physical(SampleKind::kPageTable, table.value);
  }

 private:
  template <typename Read>
  void take_if_new(SampleKind kind, std::uint64_t address, std::uint64_t bytes, const Read& read) {
    if (!taken_.insert({kind, address}).second) return;
    std::vector<std::byte> content(static_cast<std::size_t>(bytes));
    Sample sample{kind, address, bytes, {}, {}};
    if (const auto done = read(content)) {
      if (kind == SampleKind::kPageTable) forget_use(content);
      sample.blocks = block_checksums(content);
    } else {
      sample.unreadable = done.error().message();
    }
    take_(sample);
  }

  static void forget_use(std::span<std::byte> table) {
    for (std::size_t at = 0; at + sizeof(std::uint64_t) <= table.size(); at += sizeof(std::uint64_t)) {
      std::uint64_t entry = 0;
      std::memcpy(&entry, table.data() + at, sizeof(entry));
      entry &= ~kAccessedAndDirty;
      std::memcpy(table.data() + at, &entry, sizeof(entry));
    }
  }

  const SampleContext& context_;
  Memory& memory_;
  const TakeSample& take_;
  std::set<std::pair<SampleKind, std::uint64_t>> taken_;
};

template <typename T>
std::span<const T> bounded(const std::vector<T>& list) {
  return std::span(list).first(std::min(list.size(), kMaxSamples));
}

}  // namespace

std::string_view name(SampleKind kind) {
  switch (kind) {
    case SampleKind::kKernel:
      return "kernel";
    case SampleKind::kLogBuffer:
      return "log buffer";
    case SampleKind::kStack:
      return "stacks";
    case SampleKind::kPageTable:
      return "page tables";
    case SampleKind::kPhysical:
      return "pages anywhere";
    case SampleKind::kWorkload:
      return "workload";
  }
  return "unknown";
}

std::vector<std::uint32_t> block_checksums(Bytes bytes) {
  std::vector<std::uint32_t> sums;
  sums.reserve((bytes.size() + kBlockBytes - 1) / kBlockBytes);
  for (std::size_t at = 0; at < bytes.size(); at += kBlockBytes) {
    const Bytes block = bytes.subspan(at, std::min(kBlockBytes, bytes.size() - at));
    sums.push_back(static_cast<std::uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(block.data()), static_cast<uInt>(block.size()))));
  }
  return sums;
}

void take_samples(const SamplePlan& plan, const SampleContext& context, Memory& memory, const TakeSample& take) {
  Sampler sampler(context, memory, take);
  for (const LinkAddress page : bounded(plan.kernel_pages)) {
    sampler.take_virtual(SampleKind::kKernel, (page + context.slide).value, kPageBytes);
  }
  if (plan.log_buffer) sampler.take_log_buffer(*plan.log_buffer);
  for (const std::uint64_t rsp : bounded(context.stack_pointers)) {
    if (!is_kernel_address(rsp)) continue;
    sampler.take_virtual(SampleKind::kStack, rsp, kPageBytes - rsp % kPageBytes);
  }
  if (plan.page_tables && context.top_table) {
    if (!plan.kernel_pages.empty()) sampler.take_page_tables(plan.kernel_pages.front() + context.slide);
    for (const std::uint64_t rsp : bounded(context.stack_pointers)) {
      if (is_kernel_address(rsp)) sampler.take_page_tables({rsp});
    }
  }
  for (const Gpa page : bounded(plan.physical_pages)) sampler.take_physical(SampleKind::kPhysical, page.value);
  for (const Gpa page : bounded(context.workload_pages)) sampler.take_physical(SampleKind::kWorkload, page.value);
}

}  // namespace panicroom::vmcore
