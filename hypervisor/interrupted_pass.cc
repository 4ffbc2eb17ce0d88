#include "hypervisor/interrupted_pass.h"

#include <array>
#include <cstring>

namespace panicroom::hypervisor {
namespace {

struct ReturnFrame {
  std::uint64_t rip, cs, rflags, rsp, ss;
};

std::optional<ReturnFrame> read_frame(Gva at, const MemoryReader& read) {
  std::array<std::byte, sizeof(ReturnFrame)> bytes;
  if (!read(at, bytes)) return std::nullopt;
  ReturnFrame frame;
  std::memcpy(&frame, bytes.data(), sizeof(frame));
  return frame;
}

}  // namespace

std::optional<InterruptedPass> interrupted_by_step(const Registers& before, const Registers& after,
                                                   const MemoryReader& read) {
  if ((before.efer & kEferLma) == 0 || after.rip == before.rip) return std::nullopt;
  // With or without an error code below the frame.
  for (const auto error_code_size : {0, 8}) {
    const Gva at{after.rsp + static_cast<std::uint64_t>(error_code_size)};
    const auto frame = read_frame(at, read);
    if (frame && frame->rip == before.rip && frame->rsp == before.rsp && (frame->cs & 0xffff) == (before.cs & 0xffff)) {
      return InterruptedPass{before.rip, before.rsp, before.rcx, at};
    }
  }
  return std::nullopt;
}

bool same_pass(const InterruptedPass& pass, const Registers& now, const MemoryReader& read) {
  if (now.rip != pass.rip || now.rsp != pass.rsp) return false;
  if (!pass.frame) return now.rcx == pass.rcx;
  const auto frame = read_frame(*pass.frame, read);
  return frame && frame->rip == pass.rip && frame->rsp == pass.rsp;
}

bool is_repeated_string_operation(std::span<const std::byte> instruction) {
  bool repeated = false;
  for (const auto byte : instruction) {
    const auto value = static_cast<unsigned>(byte);
    if (value == 0xf2 || value == 0xf3) {
      repeated = true;
      continue;
    }
    const bool other_prefix = value == 0x66 || value == 0x67 || (value & 0xf0) == 0x40 || value == 0x26 ||
                              value == 0x2e || value == 0x36 || value == 0x3e || value == 0x64 || value == 0x65;
    if (other_prefix) continue;
    return repeated &&
           ((value >= 0xa4 && value <= 0xa7) || (value >= 0xaa && value <= 0xaf) || (value >= 0x6c && value <= 0x6f));
  }
  return false;
}

}  // namespace panicroom::hypervisor
