// What this host's KVM does otherwise than the processor, and the repairs.
//
// Some nested hypervisors run a guest's user code (CPL 3) as it is and its kernel code (CPL 0) in KVM's instruction
// emulator. That emulator does not know every instruction, lets some CPUID bits not be masked, and one is known that
// executes SYSCALL wrongly. probe_host() finds out by a small guest, and only what it found is repaired: on hardware
// that virtualises, nothing is. Which other instructions the emulator refuses is not asked beforehand: each refusal
// costs KVM half a millisecond, and the one that matters tells of itself (KVM_EXIT_INTERNAL_ERROR).
//
// Threading: HostQuirks is a plain value; probe_host() may run in any thread.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/kvm/kvm_device.h"
#include "hypervisor/registers.h"

namespace panicroom::kvm {

struct HostQuirks {
  // SYSCALL from CPL 3 sets RIP, RCX, R11 and RFLAGS and leaves CS and SS as they were: fetching the first instruction
  // of the handler raises a page fault.
  bool syscall_keeps_user_segments = false;
  // Kernel code is emulated: POPCNT, which every processor with virtualisation has, is refused.
  bool emulates_kernel_code = false;

  [[nodiscard]] bool any() const { return syscall_keeps_user_segments || emulates_kernel_code; }
  // "none", or the quirks' names with commas between.
  [[nodiscard]] std::string describe() const;
};

struct HostProbe {
  HostQuirks quirks;
  // The guest that was asked. Freeing a VM takes KVM nearly as long as the probe: whoever is in a hurry does it later.
  std::shared_ptr<void> guest;
};

// Runs the probes: about a millisecond. kHost if a probe itself cannot be made.
Result<HostProbe> probe_host(const KvmDevice& device);

// What a guest's CPUID must not show on such a host: instructions that the kernel would use and the emulator refuses.
void hide_refused_features(const HostQuirks& quirks, std::vector<kvm_cpuid_entry2>& cpuid);

// --- The repair of SYSCALL. All of what a page fault's handler finds, and what SYSCALL has to do with it.
struct PageFaultEntry {
  // Of the frame that the processor pushed: SDM Vol. 3A, 6.14.2, figure 6-9; the error code on top.
  std::uint64_t error_code = 0, rip = 0, cs = 0, rsp = 0;
  std::uint64_t cr2 = 0;
  std::uint64_t rcx = 0, r11 = 0;
  std::uint64_t lstar = 0, star = 0, fmask = 0;
  std::array<std::byte, 2> before_rcx{};  // The two bytes before the address in RCX; zeros if they are not mapped.
};

// What the vCPU must hold instead.
struct SyscallEntry {
  std::uint64_t rip = 0, rsp = 0, rflags = 0;
  std::uint16_t cs = 0, ss = 0;
};

// Nothing if the fault is a fault: only a fetch at LSTAR from user mode that a SYSCALL instruction (0f 05, at RCX - 2)
// led to is the quirk. Without that check a jump of the user's to LSTAR would run there with the kernel's privileges.
std::optional<SyscallEntry> failed_syscall(const PageFaultEntry& fault);

}  // namespace panicroom::kvm
