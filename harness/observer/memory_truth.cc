#include "harness/observer/memory_truth.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "agent/vmcore/elf_core.h"
#include "agent/vmcore/page_walk.h"
#include "base/bytes.h"
#include "harness/plan/sample_plan.h"

namespace panicroom::harness {
namespace {

using hypervisor::Machine;
using vmcore::kPageBytes;

constexpr std::uint64_t kCr3Frame = 0x000f'ffff'ffff'f000;
constexpr std::uint64_t kCr4La57 = 1U << 12;  // SDM Vol. 3A, 2.5.
constexpr std::uint64_t kFirstMegabyte = 1U << 20;

class MachineMemory : public vmcore::Memory {
 public:
  MachineMemory(Machine& machine, VcpuId vcpu) : machine_(machine), vcpu_(vcpu) {}
  Result<> read_virtual(Gva at, std::span<std::byte> out) override { return machine_.read_memory(vcpu_, at, out); }
  Result<> read_physical(Gpa at, std::span<std::byte> out) override { return machine_.read_physical(at, out); }

  template <typename T>
  std::optional<T> read(Gva at) {
    T value{};
    if (!read_virtual(at, std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
  }

 private:
  Machine& machine_;
  VcpuId vcpu_;
};

class Recorder {
 public:
  Recorder(Machine& machine, const RunningKernel& kernel, CrashTruth& truth, const hypervisor::Registers& owner)
      : kernel_(kernel), truth_(truth), memory_(machine, *truth.owner), owner_(owner) {}

  void record(const MemoryPlan& plan) {
    read_ram();
    vmcore::SampleContext context;
    context.slide = kernel_.slide();
    context.paging_levels = levels();
    context.workload_pages = plan.workload_pages;
    if (plan.samples.page_tables) {
      context.top_table = physical(*plan.samples.page_tables + kernel_.slide());
      if (context.top_table) {
        const std::uint64_t above = (*plan.samples.page_tables + kernel_.slide()) - vmcore::kKernelTextMapping;
        truth_.phys_base = static_cast<std::int64_t>(context.top_table->value - above);
      }
    }
    for (const auto& [vcpu, cpu] : truth_.cpus) {
      if (cpu.saved) context.stack_pointers.push_back((*cpu.saved)[static_cast<std::size_t>(vmcore::Register::kRsp)]);
    }
    vmcore::take_samples(plan.samples, context, memory_, [this](const vmcore::Sample& sample) { take(sample); });
  }

 private:
  [[nodiscard]] unsigned levels() const { return (owner_.cr4 & kCr4La57) != 0 ? 5 : 4; }

  std::optional<Gpa> physical(Gva address) {
    const auto walk =
        vmcore::walk_page_tables({owner_.cr3 & kCr3Frame}, levels(), address,
                                 [this](Gpa at, std::span<std::byte> out) { return memory_.read_physical(at, out); });
    return walk ? walk->target : std::nullopt;
  }

  // What is still to be pushed on the way out goes below the stack pointer.
  bool written_on_the_way_out(Gpa page) {
    if (!stack_) {
      stack_.emplace();
      for (const std::uint64_t at : {owner_.rsp, owner_.rsp - kPageBytes}) {
        if (const auto there = physical({at})) stack_->push_back(there->value / kPageBytes);
      }
    }
    return std::ranges::find(*stack_, page.value / kPageBytes) != stack_->end();
  }

  void take(const vmcore::Sample& sample) {
    using vmcore::SampleKind;
    if (!sample.unreadable.empty()) return;
    SampleTruth known{.sample = sample, .constant = false, .must_be_there = true};
    if (sample.kind == SampleKind::kKernel) {
      known.constant = is_constant(kernel_.image(), unslide({sample.address}, kernel_.slide()));
    }
    if (sample.kind == SampleKind::kPhysical) {
      const Gpa page{sample.address};
      if (written_on_the_way_out(page)) return;
      known.must_be_there = std::ranges::any_of(
          truth_.ram, [&](const MemoryRange& range) { return range.begin <= page && page + kPageBytes <= range.end; });
    }
    if (sample.kind == SampleKind::kWorkload && !holds_pattern({sample.address})) return;
    truth_.samples.push_back(std::move(known));
  }

  // Whether a workload of the agent's has written this page: then it is where the agent said that it is. The CPU may
  // have died between writing the word of a pass and counting it.
  bool holds_pattern(Gpa page) {
    std::array<std::uint64_t, vmcore::kPatternWords> words{};
    if (!memory_.read_physical(page, std::as_writable_bytes(std::span(words)))) return false;
    constexpr std::uint64_t kCounted = vmcore::kPatternWords - vmcore::kPatternHeaderWords - 1;
    const std::uint64_t passes = words[0];
    const std::uint64_t oldest = passes > kCounted ? passes - kCounted + 1 : 1;
    for (std::uint32_t cpu = 0; cpu < truth_.vcpus; ++cpu) {
      std::uint64_t pass = oldest;
      while (pass <= passes && words[vmcore::pattern_slot(pass)] == vmcore::pattern_word(VcpuId{cpu}, pass)) ++pass;
      if (passes > 0 && pass > passes) return true;
    }
    return false;
  }

  // The kernel's own idea of the machine's memory: struct e820_table (arch/x86/include/asm/e820/types.h), a count of 32
  // bits and entries of 20 bytes: begin and size of 64 bits, type of 32, where 1 is usable memory.
  void read_ram() {
    constexpr std::size_t kEntryBytes = 20;
    constexpr std::uint32_t kUsable = 1;
    constexpr std::uint32_t kMostEntries = 1024;
    const auto table = pointer_at("e820_table");
    if (!table) return;
    const auto count = memory_.read<std::uint32_t>(*table);
    if (!count || *count == 0 || *count > kMostEntries) return;
    std::vector<std::byte> bytes(std::size_t{*count} * kEntryBytes);
    if (!memory_.read_virtual(*table + sizeof(*count), bytes)) return;
    std::vector<MemoryRange> usable;
    for (std::size_t at = 0; at < bytes.size(); at += kEntryBytes) {
      const auto begin = load<std::uint64_t>(bytes, at).value_or(0);
      const auto size = load<std::uint64_t>(bytes, at + 8).value_or(0);
      if (load<std::uint32_t>(bytes, at + 16) != kUsable) continue;
      if (size > ~begin) return;  // No table of memory: nothing is known.
      usable.push_back({{begin}, {begin + size}});
    }
    std::vector<MemoryRange> crash;
    for (const char* name : {"crashk_res", "crashk_low_res"}) {
      const auto symbol = kernel_.image().symbols().unique(name);
      if (!symbol) continue;
      // struct resource (include/linux/ioport.h) begins with the first and the last byte's address.
      const auto first = memory_.read<std::uint64_t>(kernel_.running(symbol->address));
      const auto last = memory_.read<std::uint64_t>(kernel_.running(symbol->address + 8));
      if (first && last && *last > *first) crash.push_back({{*first}, {*last + 1}});
    }
    truth_.ram = dumped_memory(std::move(usable), crash);
  }

  std::optional<Gva> pointer_at(const char* name) {
    const auto symbol = kernel_.image().symbols().unique(name);
    if (!symbol) return std::nullopt;
    const auto value = memory_.read<std::uint64_t>(kernel_.running(symbol->address));
    if (!value) return std::nullopt;
    return Gva{*value};
  }

  const RunningKernel& kernel_;
  CrashTruth& truth_;
  MachineMemory memory_;
  const hypervisor::Registers& owner_;
  std::optional<std::vector<std::uint64_t>> stack_;  // Page frames.
};

}  // namespace

std::vector<MemoryRange> dumped_memory(std::vector<MemoryRange> usable, const std::vector<MemoryRange>& crash) {
  auto excluded = crash;
  excluded.push_back({{0}, {kFirstMegabyte}});
  for (const MemoryRange& out : excluded) {
    std::vector<MemoryRange> left;
    for (const MemoryRange& range : usable) {
      if (out.begin > range.begin) left.push_back({range.begin, std::min(range.end, out.begin)});
      if (out.end < range.end) left.push_back({std::max(range.begin, out.end), range.end});
    }
    usable = std::move(left);
  }
  for (MemoryRange& range : usable) {
    range.begin.value = (range.begin.value + kPageBytes - 1) / kPageBytes * kPageBytes;
    range.end.value = range.end.value / kPageBytes * kPageBytes;
  }
  std::erase_if(usable, [](const MemoryRange& range) { return range.begin >= range.end; });
  std::ranges::sort(usable, {}, &MemoryRange::begin);
  return usable;
}

Result<> record_memory(Machine& machine, const RunningKernel& kernel, const MemoryPlan& plan, CrashTruth& truth) {
  if (!truth.owner) return host_error("nobody is known to have jumped");
  const auto owner = TRY(machine.registers(*truth.owner));
  Recorder(machine, kernel, truth, owner).record(plan);
  // A machine that was lost while it was read is not one whose memory was only partly readable.
  TRY(machine.registers(*truth.owner));
  return {};
}

}  // namespace panicroom::harness
