// One vCPU of KVM's: its file descriptor, its run area, and its state as KVM's ioctls give and take it.
//
// Threading: enter() by the vCPU's own thread; everything else by any one thread while enter() is not running.
// Errors: kHost, unless said otherwise; each names the ioctl.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/file.h"
#include "base/result.h"
#include "hypervisor/kvm/kvm_device.h"
#include "hypervisor/machine.h"
#include "hypervisor/registers.h"

namespace panicroom::kvm {

// All that a vCPU holds but its time-stamp counter, which is the machine's affair.
struct VcpuState {
  kvm_regs regs = {};
  kvm_sregs sregs = {};
  kvm_vcpu_events events = {};
  kvm_debugregs debugregs = {};
  kvm_xcrs xcrs = {};
  std::vector<std::uint32_t> xsave;
  std::vector<kvm_msr_entry> msrs;
};

// KVM has four, as the processor: DR0 to DR3 (Intel SDM Vol. 3B, 18.2).
inline constexpr std::size_t kHardwareBreakpoints = 4;

// What KVM is to tell of the guest's progress.
struct DebugControl {
  bool single_step = false;
  bool software_breakpoints = false;
  std::vector<Gva> hardware;  // At most kHardwareBreakpoints.

  friend bool operator==(const DebugControl&, const DebugControl&) = default;
};

class Vcpu {
 public:
  static Result<Vcpu> create(const KvmDevice& device, int vm, std::uint32_t id);

  enum class Entry { kExited, kInterrupted };
  // KVM_RUN until something happens: kExited, and run() says what; kInterrupted by a signal or immediate_exit.
  Result<Entry> enter();
  // Completes what the last exit began (an access to a port, a device's memory or an MSR), and brings run()'s flags up
  // to date; executes no further instruction. kExited if that led to another exit, which is to be dealt with.
  Result<Entry> complete();
  [[nodiscard]] kvm_run& run() const { return *run_.as<kvm_run>(); }
  // Whether KVM lets us report machine checks: the vCPU then has kMceBanks banks, all turned on at first.
  [[nodiscard]] bool machine_checks() const { return machine_checks_; }
  static constexpr std::uint32_t kMceBanks = 10;

  Result<> set_cpuid(std::span<const kvm_cpuid_entry2> entries);
  [[nodiscard]] Result<kvm_regs> regs() const;
  Result<> set_regs(const kvm_regs& regs);
  [[nodiscard]] Result<kvm_sregs> sregs() const;
  Result<> set_sregs(const kvm_sregs& sregs);
  [[nodiscard]] Result<kvm_vcpu_events> events() const;
  Result<> set_events(const kvm_vcpu_events& events);
  [[nodiscard]] Result<std::uint64_t> msr(std::uint32_t index) const;
  Result<> set_msr(std::uint32_t index, std::uint64_t value);

  // The same in the terms of the machine. Only what differs from the present state is written.
  [[nodiscard]] Result<hypervisor::Registers> registers() const;
  Result<> set_registers(const hypervisor::Registers& registers);

  Result<> inject_interrupt(std::uint8_t vector);  // KVM_INTERRUPT: run() must say that it can be taken.
  Result<> inject_nmi();
  // Machine::inject_mce(). Only where machine_checks().
  Result<> inject_mce(const hypervisor::MachineCheck& error);
  Result<> set_debug(const DebugControl& control);
  // Gives the guest the #BP or #DB that has ended KVM_RUN, because it is the guest's own. set_debug() must follow.
  Result<> give_back_debug_exception(bool breakpoint);
  // KVM_TRANSLATE, by the page tables and in the mode that the vCPU is in; nothing if the page is not present.
  [[nodiscard]] Result<std::optional<Gpa>> translate(Gva at) const;

  // How fast the time-stamp counter runs.
  [[nodiscard]] Result<std::uint64_t> tsc_khz() const;
  // What is added to the host's time-stamp counter; nothing if KVM does not tell (KVM_VCPU_TSC_OFFSET).
  [[nodiscard]] std::optional<std::uint64_t> tsc_offset() const;
  Result<> set_tsc_offset(std::uint64_t offset);

  [[nodiscard]] Result<VcpuState> state() const;
  Result<> set_state(const VcpuState& state);

 private:
  Vcpu() = default;
  Result<> set_up_machine_checks(const KvmDevice& device);
  Result<> find_msrs(const KvmDevice& device);
  template <typename T>
  [[nodiscard]] Result<T> get(unsigned long request, std::string_view name) const;
  template <typename T>
  Result<> set(unsigned long request, const T& value, std::string_view name);

  UniqueFd fd_;
  Mapping run_;
  bool machine_checks_ = false;
  std::size_t xsave_size_ = 4096;
  std::vector<std::uint32_t> msr_indices_;  // Those that KVM gives.
};

}  // namespace panicroom::kvm
