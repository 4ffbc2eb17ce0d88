// The check of the capture kernel's image between the jump and its first instruction.
//
// The guest's purgatory computes the SHA-256 digest of the whole image, one interpreted instruction after the other: a
// quarter of what a trial costs under emulation. What it finds cannot differ between trials of one machine as long as
// the memory that it looks at, and its own, do not: then the host computes the same digest in a quarter of the time,
// and leaves the purgatory an empty list to check. So
// - the first trial's purgatory does all of its work, and nothing here is in its way;
// - once the capture kernel has run, later trials of the machine are spared it if the purgatory's memory is, byte for
//   byte, what it was then, and the image has the digest that stands there;
// - if anything differs, nothing is changed, and the guest's purgatory finds what it finds.
// An engine that executes guest code at the host's speed gains nothing by this and loses nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "kernels/purgatory/purgatory.h"

namespace panicroom::harness {

// The stopped machine's physical memory; kInvalidInput for what is not memory, as hypervisor::Machine has it.
struct PhysicalMemory {
  std::function<Result<>(Gpa at, std::span<std::byte> into)> read;
  std::function<Result<>(Gpa at, std::span<const std::byte> bytes)> write;
};

// Belongs to one machine, and to one snapshot of it. One thread.
class CaptureImageCheck {
 public:
  // Nothing if the kernel under test has no purgatory that checks: then neither does this.
  explicit CaptureImageCheck(std::optional<kernels::Purgatory> purgatory) : purgatory_(purgatory) {}

  // At the jump, before the old kernel's last instruction; `entry` is where it jumps to. The number of bytes that were
  // checked if the guest is spared the check, else nothing.
  Result<std::optional<std::uint64_t>> at_jump(Gpa entry, const PhysicalMemory& memory);

  // The capture kernel runs: the guest's purgatory has let pass what the last at_jump() saw.
  void passed();

 private:
  std::optional<kernels::Purgatory> purgatory_;
  std::vector<std::byte> seen_;    // The purgatory's memory at this trial's jump, if the guest does the check.
  std::vector<std::byte> proven_;  // The same when the guest's own check let the image pass; empty before.
};

}  // namespace panicroom::harness
