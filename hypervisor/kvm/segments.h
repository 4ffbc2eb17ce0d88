// Segment registers with their hidden parts, as long mode and a startup IPI want them (Intel SDM Vol. 3A, 3.4.3
// to 3.4.5).
#pragma once

#include <linux/kvm.h>

#include <cstdint>

namespace panicroom::kvm {

// Flat, 64-bit; `privilege` is its DPL.
constexpr kvm_segment long_mode_code(std::uint16_t selector, std::uint8_t privilege) {
  kvm_segment segment = {};
  segment.selector = selector;
  segment.limit = 0xffffffff;
  segment.type = 0xb;  // Execute, read, accessed.
  segment.present = 1;
  segment.dpl = privilege;
  segment.s = 1;
  segment.l = 1;
  segment.g = 1;
  return segment;
}

constexpr kvm_segment data_segment(std::uint16_t selector, std::uint8_t privilege) {
  kvm_segment segment = {};
  segment.selector = selector;
  segment.limit = 0xffffffff;
  segment.type = 0x3;  // Read, write, accessed.
  segment.present = 1;
  segment.dpl = privilege;
  segment.s = 1;
  segment.db = 1;
  segment.g = 1;
  return segment;
}

// A busy 64-bit task state segment of the least size (7.2.3).
constexpr kvm_segment task_segment(std::uint16_t selector, std::uint64_t base) {
  kvm_segment segment = {};
  segment.selector = selector;
  segment.base = base;
  segment.limit = 0x67;
  segment.type = 0xb;
  segment.present = 1;
  return segment;
}

}  // namespace panicroom::kvm
