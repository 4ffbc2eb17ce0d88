#include "hypervisor/kvm/vcpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "hypervisor/kvm/kvm_tables.h"
#include "hypervisor/kvm/mce_registers.h"

namespace panicroom::kvm {
namespace {

using hypervisor::Registers;

// Intel SDM Vol. 4, table 2-2. Not part of VcpuState: the counter, and what belongs to the local APIC.
constexpr std::uint32_t kTsc = 0x10;
constexpr std::uint32_t kTscDeadline = 0x6e0;
constexpr std::uint32_t kKernelGsBase = 0xc0000102;

// DR7 (SDM Vol. 3B, 18.2.4): bit 10 reads as 1, and bit 9 asks for exact data breakpoints; the type "execution" is 0.
constexpr std::uint64_t kDr7 = 0x600;
constexpr std::uint64_t global_enable(std::size_t slot) { return 2ull << (2 * slot); }

struct SegmentPair {
  std::uint64_t Registers::*selector;
  kvm_segment kvm_sregs::*segment;
};
constexpr std::array kSegments{
    SegmentPair{&Registers::cs, &kvm_sregs::cs}, SegmentPair{&Registers::ss, &kvm_sregs::ss},
    SegmentPair{&Registers::ds, &kvm_sregs::ds}, SegmentPair{&Registers::es, &kvm_sregs::es},
    SegmentPair{&Registers::fs, &kvm_sregs::fs}, SegmentPair{&Registers::gs, &kvm_sregs::gs}};

struct GeneralPair {
  std::uint64_t Registers::*ours;
  __u64 kvm_regs::*kvms;
};
constexpr std::array kGeneral{
    GeneralPair{&Registers::rax, &kvm_regs::rax}, GeneralPair{&Registers::rbx, &kvm_regs::rbx},
    GeneralPair{&Registers::rcx, &kvm_regs::rcx}, GeneralPair{&Registers::rdx, &kvm_regs::rdx},
    GeneralPair{&Registers::rsi, &kvm_regs::rsi}, GeneralPair{&Registers::rdi, &kvm_regs::rdi},
    GeneralPair{&Registers::rbp, &kvm_regs::rbp}, GeneralPair{&Registers::rsp, &kvm_regs::rsp},
    GeneralPair{&Registers::r8, &kvm_regs::r8},   GeneralPair{&Registers::r9, &kvm_regs::r9},
    GeneralPair{&Registers::r10, &kvm_regs::r10}, GeneralPair{&Registers::r11, &kvm_regs::r11},
    GeneralPair{&Registers::r12, &kvm_regs::r12}, GeneralPair{&Registers::r13, &kvm_regs::r13},
    GeneralPair{&Registers::r14, &kvm_regs::r14}, GeneralPair{&Registers::r15, &kvm_regs::r15},
    GeneralPair{&Registers::rip, &kvm_regs::rip}, GeneralPair{&Registers::rflags, &kvm_regs::rflags}};

struct ControlPair {
  std::uint64_t Registers::*ours;
  __u64 kvm_sregs::*kvms;
};
constexpr std::array kControl{
    ControlPair{&Registers::cr0, &kvm_sregs::cr0}, ControlPair{&Registers::cr2, &kvm_sregs::cr2},
    ControlPair{&Registers::cr3, &kvm_sregs::cr3}, ControlPair{&Registers::cr4, &kvm_sregs::cr4},
    ControlPair{&Registers::cr8, &kvm_sregs::cr8}, ControlPair{&Registers::efer, &kvm_sregs::efer}};

bool same_segments_and_control(const Registers& a, const Registers& b) {
  return std::all_of(kSegments.begin(), kSegments.end(),
                     [&](const SegmentPair& pair) { return a.*pair.selector == b.*pair.selector; }) &&
         std::all_of(kControl.begin(), kControl.end(),
                     [&](const ControlPair& pair) { return a.*pair.ours == b.*pair.ours; }) &&
         a.fs_base == b.fs_base && a.gs_base == b.gs_base;
}

// How much KVM_GET_XSAVE2 writes: what KVM says for this machine, and for sure not less than all the features that a
// guest could be given take (SDM Vol. 2A, "CPUID", leaf 0xd, ECX).
std::size_t xsave_size(const KvmDevice& device, int vm) {
  constexpr std::uint32_t kExtendedState = 0xd;
  std::size_t size = kXsaveBytes;
  if (const int told = call(vm, KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_XSAVE2)); told > 0) {
    size = std::max(size, static_cast<std::size_t>(told));
  }
  for (const auto& leaf : device.supported_cpuid()) {
    if (leaf.function == kExtendedState && leaf.index == 0) size = std::max<std::size_t>(size, leaf.ecx);
  }
  return (size + kXsaveBytes - 1) / kXsaveBytes * kXsaveBytes;
}

}  // namespace

Result<Vcpu> Vcpu::create(const KvmDevice& device, int vm, std::uint32_t id) {
  Vcpu vcpu;
  vcpu.fd_ = UniqueFd(call(vm, KVM_CREATE_VCPU, static_cast<unsigned long>(id)));
  if (!vcpu.fd_) return errno_error(errno, fmt::format("KVM_CREATE_VCPU {}", id));
  vcpu.run_ = TRY(Mapping::of(vcpu.fd_.get(), device.run_size(), "mapping a vCPU's run area"));
  vcpu.xsave_size_ = xsave_size(device, vm);
  TRY(vcpu.set_up_machine_checks(device));
  TRY(vcpu.find_msrs(device));
  return vcpu;
}

// KVM_GET_MSRS stops at the first that it does not give.
Result<> Vcpu::find_msrs(const KvmDevice& device) {
  auto wanted = device.msr_indices();
  std::erase_if(wanted, [](std::uint32_t index) { return index == kTsc || index == kTscDeadline; });
  // The banks' are not in KVM's list.
  for (std::uint32_t i = 0; machine_checks_ && i < kMceBanks * mce::kMsrsOfABank; ++i) {
    wanted.push_back(mce::kMsrFirstBank + i);
  }
  while (msr_indices_.size() < wanted.size()) {
    std::vector<kvm_msr_entry> entries;
    for (std::size_t i = msr_indices_.size(); i < wanted.size(); ++i) entries.push_back({wanted[i], 0, 0});
    MsrTable table(entries);
    const int got = call(fd_.get(), kGetMsrs, table.argument());
    if (got < 0) return errno_error(errno, "KVM_GET_MSRS");
    for (int i = 0; i < got; ++i) msr_indices_.push_back(wanted[msr_indices_.size()]);
    if (msr_indices_.size() < wanted.size()) {
      wanted.erase(wanted.begin() + static_cast<std::ptrdiff_t>(msr_indices_.size()));
    }
  }
  return {};
}

Result<Vcpu::Entry> Vcpu::enter() {
  if (::ioctl(fd_.get(), KVM_RUN, 0) == 0) return Entry::kExited;
  if (errno == EINTR || errno == EAGAIN) return Entry::kInterrupted;
  return errno_error(errno, "KVM_RUN");
}

Result<Vcpu::Entry> Vcpu::complete() {
  run().immediate_exit = 1;
  auto entry = enter();
  run().immediate_exit = 0;
  return entry;
}

template <typename T>
Result<T> Vcpu::get(unsigned long request, std::string_view name) const {
  T value{};
  if (call(fd_.get(), request, &value) < 0) return errno_error(errno, name);
  return value;
}

template <typename T>
Result<> Vcpu::set(unsigned long request, const T& value, std::string_view name) {
  if (call(fd_.get(), request, &value) < 0) return errno_error(errno, name);
  return {};
}

Result<> Vcpu::set_cpuid(std::span<const kvm_cpuid_entry2> entries) {
  CpuidTable table(entries);
  if (call(fd_.get(), kSetCpuid2, table.argument()) < 0) return errno_error(errno, "KVM_SET_CPUID2");
  return {};
}

Result<kvm_regs> Vcpu::regs() const { return get<kvm_regs>(KVM_GET_REGS, "KVM_GET_REGS"); }
Result<> Vcpu::set_regs(const kvm_regs& regs) { return set(KVM_SET_REGS, regs, "KVM_SET_REGS"); }
Result<kvm_sregs> Vcpu::sregs() const { return get<kvm_sregs>(KVM_GET_SREGS, "KVM_GET_SREGS"); }
Result<> Vcpu::set_sregs(const kvm_sregs& sregs) { return set(KVM_SET_SREGS, sregs, "KVM_SET_SREGS"); }
Result<kvm_vcpu_events> Vcpu::events() const {
  return get<kvm_vcpu_events>(KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS");
}
Result<> Vcpu::set_events(const kvm_vcpu_events& events) {
  return set(KVM_SET_VCPU_EVENTS, events, "KVM_SET_VCPU_EVENTS");
}

Result<std::uint64_t> Vcpu::msr(std::uint32_t index) const {
  const std::array entry{kvm_msr_entry{index, 0, 0}};
  MsrTable table(entry);
  if (call(fd_.get(), kGetMsrs, table.argument()) != 1) return host_error("KVM does not give the MSR {:#x}", index);
  return table.entries().front().data;
}

Result<> Vcpu::set_msr(std::uint32_t index, std::uint64_t value) {
  const std::array entry{kvm_msr_entry{index, 0, value}};
  MsrTable table(entry);
  if (call(fd_.get(), kSetMsrs, table.argument()) != 1) {
    return host_error("KVM does not take {:#x} for the MSR {:#x}", value, index);
  }
  return {};
}

Result<Registers> Vcpu::registers() const {
  const auto regs = TRY(this->regs());
  const auto sregs = TRY(this->sregs());
  Registers registers;
  for (const auto& pair : kGeneral) registers.*pair.ours = regs.*pair.kvms;
  for (const auto& pair : kSegments) registers.*pair.selector = (sregs.*pair.segment).selector;
  for (const auto& pair : kControl) registers.*pair.ours = sregs.*pair.kvms;
  registers.fs_base = sregs.fs.base;
  registers.gs_base = sregs.gs.base;
  registers.kernel_gs_base = TRY(msr(kKernelGsBase));
  return registers;
}

Result<> Vcpu::set_registers(const Registers& registers) {
  const auto before = TRY(this->registers());
  if (!same_segments_and_control(before, registers)) {
    auto sregs = TRY(this->sregs());
    for (const auto& pair : kSegments) {
      (sregs.*pair.segment).selector = static_cast<std::uint16_t>(registers.*pair.selector);
    }
    for (const auto& pair : kControl) sregs.*pair.kvms = registers.*pair.ours;
    sregs.fs.base = registers.fs_base;
    sregs.gs.base = registers.gs_base;
    TRY(set_sregs(sregs));
  }
  if (before.kernel_gs_base != registers.kernel_gs_base) TRY(set_msr(kKernelGsBase, registers.kernel_gs_base));
  auto regs = TRY(this->regs());
  for (const auto& pair : kGeneral) regs.*pair.kvms = registers.*pair.ours;
  return set_regs(regs);
}

Result<> Vcpu::inject_interrupt(std::uint8_t vector) {
  kvm_interrupt interrupt = {};
  interrupt.irq = vector;
  return set(KVM_INTERRUPT, interrupt, "KVM_INTERRUPT");
}

Result<> Vcpu::inject_nmi() {
  if (call(fd_.get(), KVM_NMI, 0) < 0) return errno_error(errno, "KVM_NMI");
  return {};
}

Result<> Vcpu::set_debug(const DebugControl& control) {
  kvm_guest_debug debug = {};
  if (control.single_step) debug.control |= KVM_GUESTDBG_SINGLESTEP;
  if (control.software_breakpoints) debug.control |= KVM_GUESTDBG_USE_SW_BP;
  if (!control.hardware.empty()) debug.control |= KVM_GUESTDBG_USE_HW_BP;
  if (debug.control != 0) debug.control |= KVM_GUESTDBG_ENABLE;
  debug.arch.debugreg[7] = kDr7;
  for (std::size_t i = 0; i < std::min(control.hardware.size(), kHardwareBreakpoints); ++i) {
    debug.arch.debugreg[i] = control.hardware[i].value;
    debug.arch.debugreg[7] |= global_enable(i);
  }
  return set(KVM_SET_GUEST_DEBUG, debug, "KVM_SET_GUEST_DEBUG");
}

Result<> Vcpu::give_back_debug_exception(bool breakpoint) {
  kvm_guest_debug debug = {};
  debug.control = KVM_GUESTDBG_ENABLE | (breakpoint ? KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_INJECT_BP
                                                    : KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_INJECT_DB);
  return set(KVM_SET_GUEST_DEBUG, debug, "KVM_SET_GUEST_DEBUG");
}

Result<std::optional<Gpa>> Vcpu::translate(Gva at) const {
  kvm_translation translation = {};
  translation.linear_address = at.value;
  if (call(fd_.get(), KVM_TRANSLATE, &translation) < 0) return errno_error(errno, "KVM_TRANSLATE");
  if (translation.valid == 0) return std::optional<Gpa>();
  return std::optional<Gpa>(Gpa{translation.physical_address});
}

Result<std::uint64_t> Vcpu::tsc_khz() const {
  const int khz = call(fd_.get(), KVM_GET_TSC_KHZ, 0UL);
  if (khz <= 0) return errno_error(errno, "KVM_GET_TSC_KHZ");
  return static_cast<std::uint64_t>(khz);
}

std::optional<std::uint64_t> Vcpu::tsc_offset() const {
  std::uint64_t offset = 0;
  kvm_device_attr attribute = {};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<std::uintptr_t>(&offset);
  if (call(fd_.get(), KVM_GET_DEVICE_ATTR, &attribute) < 0) return std::nullopt;
  return offset;
}

Result<> Vcpu::set_tsc_offset(std::uint64_t offset) {
  kvm_device_attr attribute = {};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<std::uintptr_t>(&offset);
  return set(KVM_SET_DEVICE_ATTR, attribute, "KVM_SET_DEVICE_ATTR (KVM_VCPU_TSC_OFFSET)");
}

Result<VcpuState> Vcpu::state() const {
  VcpuState state;
  state.regs = TRY(regs());
  state.sregs = TRY(sregs());
  state.events = TRY(events());
  state.debugregs = TRY(get<kvm_debugregs>(KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS"));
  state.xcrs = TRY(get<kvm_xcrs>(KVM_GET_XCRS, "KVM_GET_XCRS"));
  state.xsave.resize(xsave_size_ / sizeof(std::uint32_t));
  if (call(fd_.get(), kGetXsave2, state.xsave.data()) < 0) return errno_error(errno, "KVM_GET_XSAVE2");
  for (const auto index : msr_indices_) state.msrs.push_back({index, 0, 0});
  MsrTable table(state.msrs);
  const int got = call(fd_.get(), kGetMsrs, table.argument());
  if (got < 0) return errno_error(errno, "KVM_GET_MSRS");
  if (static_cast<std::size_t>(got) != state.msrs.size()) {
    return host_error("KVM does not give the MSR {:#x} any more", state.msrs[static_cast<std::size_t>(got)].index);
  }
  state.msrs = table.entries();
  return state;
}

Result<> Vcpu::set_state(const VcpuState& state) {
  TRY(set_sregs(state.sregs));
  TRY(set_regs(state.regs));
  // What cannot be set (a register that only reads) is left out where it holds the value anyway.
  std::span<const kvm_msr_entry> rest = state.msrs;
  while (!rest.empty()) {
    MsrTable table(rest);
    const int done = call(fd_.get(), kSetMsrs, table.argument());
    if (done < 0) return errno_error(errno, "KVM_SET_MSRS");
    rest = rest.subspan(static_cast<std::size_t>(done));
    if (rest.empty()) break;
    const auto present = msr(rest.front().index);
    if (!present || *present != rest.front().data) {
      return host_error("KVM does not take {:#x} for the MSR {:#x}", static_cast<std::uint64_t>(rest.front().data),
                        static_cast<std::uint32_t>(rest.front().index));
    }
    rest = rest.subspan(1);
  }
  TRY(set(KVM_SET_XCRS, state.xcrs, "KVM_SET_XCRS"));
  if (call(fd_.get(), kSetXsave, state.xsave.data()) < 0) return errno_error(errno, "KVM_SET_XSAVE");
  TRY(set(KVM_SET_DEBUGREGS, state.debugregs, "KVM_SET_DEBUGREGS"));
  return set_events(state.events);
}

}  // namespace panicroom::kvm
