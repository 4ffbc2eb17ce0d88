#include "harness/observer/unwind.h"

#include <optional>

namespace panicroom::harness {
namespace {

using kernels::OrcBase;
using kernels::OrcEntry;
using kernels::OrcType;

// struct pt_regs (arch/x86/include/asm/ptrace.h), in words.
constexpr std::uint64_t kPtRegsBp = 4;
constexpr std::uint64_t kPtRegsIp = 16;
constexpr std::uint64_t kWord = 8;

// What is known of a frame. The registers that only a few hand-written entries need are known in the innermost alone.
struct Frame {
  std::uint64_t ip = 0;
  std::uint64_t sp = 0;
  std::uint64_t bp = 0;
  const hypervisor::Registers* all = nullptr;
  bool interrupted = false;  // `ip` is the next instruction to execute, and not a return address.
};

class Unwinder {
 public:
  Unwinder(const kernels::OrcTable& table, const RunningKernel& kernel, const ReadStack& read)
      : table_(table), kernel_(kernel), read_(read) {}

  // The caller's frame. Nothing if there is none or it cannot be found: `complete` tells which.
  std::optional<Frame> caller(const Frame& frame, bool& complete) const {
    // A return address may be that of the next function, where a call never returns.
    const Gva at{frame.interrupted ? frame.ip : frame.ip - 1};
    const auto entry = table_.at(unslide(at, kernel_.slide()));
    if (!entry) return std::nullopt;
    if (entry->type == OrcType::kEnd) {
      complete = true;
      return std::nullopt;
    }
    const auto sp = stack_pointer(frame, *entry);
    if (!sp) return std::nullopt;
    Frame next;
    if (entry->type == OrcType::kCall) {
      const auto ip = word(*sp - kWord);
      if (!ip) return std::nullopt;
      next = {*ip, *sp, frame.bp, nullptr, false};
    } else {
      // A partial pt_regs begins with its ip.
      const std::uint64_t frame_at = *sp + (entry->type == OrcType::kRegs ? kPtRegsIp * kWord : 0);
      const auto ip = word(frame_at);
      const auto cs = word(frame_at + kWord);
      const auto old_sp = word(frame_at + 3 * kWord);
      if (!ip || !cs || !old_sp) return std::nullopt;
      if ((*cs & 3) != 0) {  // From user space.
        complete = true;
        return std::nullopt;
      }
      next = {*ip, *old_sp, frame.bp, nullptr, true};
      if (entry->type == OrcType::kRegs) {
        next.bp = word(*sp + kPtRegsBp * kWord).value_or(frame.bp);
        return next;
      }
    }
    if (entry->bp_base == OrcBase::kPreviousSp) {
      next.bp = word(*sp + static_cast<std::uint64_t>(std::int64_t{entry->bp_offset})).value_or(frame.bp);
    } else if (entry->bp_base == OrcBase::kBp) {
      next.bp = word(frame.bp + static_cast<std::uint64_t>(std::int64_t{entry->bp_offset})).value_or(frame.bp);
    }
    return next;
  }

 private:
  [[nodiscard]] std::optional<std::uint64_t> word(std::uint64_t at) const {
    std::uint64_t value = 0;
    if (!read_({at}, std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
  }

  [[nodiscard]] std::optional<std::uint64_t> stack_pointer(const Frame& frame, const OrcEntry& entry) const {
    const auto offset = static_cast<std::uint64_t>(std::int64_t{entry.sp_offset});
    switch (entry.sp_base) {
      case OrcBase::kSp:
        return frame.sp + offset;
      case OrcBase::kBp:
        return frame.bp + offset;
      case OrcBase::kSpIndirect: {
        const auto sp = word(frame.sp);
        if (!sp) return std::nullopt;
        return *sp + offset;
      }
      case OrcBase::kBpIndirect:
        return word(frame.bp + offset);
      case OrcBase::kR10:
        return frame.all == nullptr ? std::nullopt : std::optional(frame.all->r10 + offset);
      case OrcBase::kR13:
        return frame.all == nullptr ? std::nullopt : std::optional(frame.all->r13 + offset);
      case OrcBase::kDi:
        return frame.all == nullptr ? std::nullopt : std::optional(frame.all->rdi + offset);
      case OrcBase::kDx:
        return frame.all == nullptr ? std::nullopt : std::optional(frame.all->rdx + offset);
      case OrcBase::kUndefined:
      case OrcBase::kPreviousSp:
        break;
    }
    return std::nullopt;
  }

  const kernels::OrcTable& table_;
  const RunningKernel& kernel_;
  const ReadStack& read_;
};

}  // namespace

Backtrace unwind(const kernels::OrcTable& table, const RunningKernel& kernel, const hypervisor::Registers& registers,
                 const ReadStack& read, std::size_t most) {
  Backtrace trace;
  const Unwinder unwinder(table, kernel, read);
  Frame frame{registers.rip, registers.rsp, registers.rbp, &registers, true};
  while (trace.callers.size() < most) {
    const auto caller = unwinder.caller(frame, trace.complete);
    if (!caller) break;
    if (!kernel.in_text({caller->ip})) break;
    trace.callers.push_back({caller->ip});
    frame = *caller;
  }
  return trace;
}

}  // namespace panicroom::harness
