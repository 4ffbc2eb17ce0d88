// The small guests by which probe_host() finds out what KVM does here: one vCPU in long mode, a page of code, and a
// port by which the guest tells how far it came.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <memory>

#include "hypervisor/kvm/host_quirks.h"
#include "hypervisor/kvm/segments.h"
#include "hypervisor/kvm/vcpu.h"
#include "hypervisor/kvm/vm.h"

namespace panicroom::kvm {
namespace {

// The guest's memory, one page each.
constexpr std::uint64_t kPageMap = 0x1000;
constexpr std::uint64_t kPointers = 0x2000;
constexpr std::uint64_t kDirectory = 0x3000;
constexpr std::uint64_t kTable = 0x4000;
constexpr std::uint64_t kGdt = 0x5000;
constexpr std::uint64_t kIdt = 0x6000;
constexpr std::uint64_t kTss = 0x7000;
constexpr std::uint64_t kKernelCode = 0x8000;
constexpr std::uint64_t kUserCode = 0x9000;
constexpr std::uint64_t kHandlers = 0xa000;
constexpr std::uint64_t kStackTop = 0xc000;
constexpr std::uint64_t kUserStackTop = 0xd000;
constexpr std::size_t kMemory = 0x10000;

// SDM Vol. 3A, 4.5.4.
constexpr std::uint64_t kPresentWritable = 0x3;
constexpr std::uint64_t kUserAccess = 0x4;

// The guest tells with `out %al, $port` which way it went.
constexpr std::uint16_t kReached = 0x10;
constexpr std::uint16_t kException = 0x20;  // Plus the vector.
constexpr std::uint8_t kPageFaultVector = 14;

constexpr std::array<std::uint8_t, 2> out_to(std::uint16_t port) { return {0xe6, static_cast<std::uint8_t>(port)}; }

class ProbeGuest {
 public:
  static Result<ProbeGuest> create(const KvmDevice& device) {
    ProbeGuest guest(TRY(Mapping::anonymous(kMemory)), TRY(Vm::create(device)));
    TRY(guest.vm_.add_memory(Gpa{0}, guest.memory_.bytes()));
    guest.vcpu_.emplace(TRY(Vcpu::create(device, guest.vm_.fd(), 0)));
    guest.lay_out();
    return guest;
  }

  Vcpu& vcpu() { return *vcpu_; }

  void put(std::uint64_t at, std::initializer_list<std::uint8_t> code, std::uint16_t then_out) {
    auto* to = memory_.bytes().data() + at;
    for (const auto byte : code) *to++ = std::byte{byte};
    for (const auto byte : out_to(then_out)) *to++ = std::byte{byte};
  }

  // Long mode at that address, with the privilege of that code segment.
  Result<> enter_at(std::uint64_t rip, bool user) {
    auto sregs = TRY(vcpu_->sregs());
    sregs.cs = user ? long_mode_code(kUserCs, 3) : long_mode_code(kKernelCs, 0);
    sregs.ss = user ? data_segment(kUserSs, 3) : data_segment(kKernelSs, 0);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
    sregs.tr = task_segment(kTssSelector, kTss);
    sregs.gdt.base = kGdt;
    sregs.gdt.limit = 0x7f;
    sregs.idt.base = kIdt;
    sregs.idt.limit = 0xfff;
    sregs.cr3 = kPageMap;
    sregs.cr4 = 0x620;  // PAE, OSFXSR, OSXMMEXCPT
    sregs.cr0 = 0x80010033;
    sregs.efer = 0xd01;  // SCE, LME, LMA, NXE
    TRY(vcpu_->set_sregs(sregs));
    kvm_regs regs = {};
    regs.rip = rip;
    regs.rsp = user ? kUserStackTop : kStackTop;
    regs.rflags = hypervisor::kRflagsFixed;
    return vcpu_->set_regs(regs);
  }

  // The port that the guest wrote to; nothing if KVM did not go on.
  Result<std::optional<std::uint16_t>> run() {
    constexpr int kMostTries = 1000;
    for (int i = 0; i < kMostTries; ++i) {
      if (TRY(vcpu_->enter()) == Vcpu::Entry::kInterrupted) continue;
      const auto& run = vcpu_->run();
      if (run.exit_reason != KVM_EXIT_IO) return std::optional<std::uint16_t>();
      return std::optional<std::uint16_t>(run.io.port);
    }
    return host_error("a probe of KVM was interrupted {} times", kMostTries);
  }

  static constexpr std::uint16_t kKernelCs = 0x10;
  static constexpr std::uint16_t kKernelSs = 0x18;
  static constexpr std::uint16_t kUserSs = 0x2b;
  static constexpr std::uint16_t kUserCs = 0x33;
  static constexpr std::uint16_t kTssSelector = 0x40;

 private:
  ProbeGuest(Mapping memory, Vm vm) : memory_(std::move(memory)), vm_(std::move(vm)) {}

  void set(std::uint64_t at, std::uint64_t value) { std::memcpy(memory_.bytes().data() + at, &value, sizeof(value)); }

  void lay_out() {
    set(kPageMap, kPointers | kPresentWritable | kUserAccess);
    set(kPointers, kDirectory | kPresentWritable | kUserAccess);
    set(kDirectory, kTable | kPresentWritable | kUserAccess);
    for (std::uint64_t page = 0; page < kMemory; page += 0x1000) {
      const bool user = page == kUserCode || page == kUserStackTop - 0x1000;
      set(kTable + page / 0x1000 * 8, page | kPresentWritable | (user ? kUserAccess : 0));
    }
    // SDM Vol. 3A, 3.4.5: 64-bit code and data, for the kernel and the user.
    set(kGdt + kKernelCs, 0x00209b0000000000);
    set(kGdt + kKernelSs, 0x0000930000000000);
    set(kGdt + (kUserSs & 0xfff8), 0x0000f30000000000);
    set(kGdt + (kUserCs & 0xfff8), 0x0020fb0000000000);
    set(kGdt + kTssSelector, 0x00008b0000000067 | (kTss << 16));
    set(kTss + 4, kStackTop);  // RSP0: SDM Vol. 3A, 7.7.
    // Interrupt gates (6.14.1), each to a handler that tells its vector.
    for (std::uint64_t vector = 0; vector < 32; ++vector) {
      const auto handler = kHandlers + vector * 16;
      put(handler, {}, static_cast<std::uint16_t>(kException + vector));
      set(kIdt + vector * 16, (handler & 0xffff) | (std::uint64_t{kKernelCs} << 16) | (0x8eULL << 40));
    }
  }

  Mapping memory_;
  Vm vm_;
  std::optional<Vcpu> vcpu_;
};

// Where an instruction at CPL 0 leads: the port, or nothing if KVM refuses it.
Result<std::optional<std::uint16_t>> try_instruction(ProbeGuest& guest, std::initializer_list<std::uint8_t> code) {
  guest.put(kKernelCode, code, kReached);
  TRY(guest.enter_at(kKernelCode, false));
  return guest.run();
}

Result<bool> syscall_keeps_user_segments(ProbeGuest& guest) {
  constexpr std::uint32_t kStar = 0xc0000081;
  constexpr std::uint32_t kLstar = 0xc0000082;
  guest.put(kUserCode, {0x0f, 0x05}, kReached + 1);
  guest.put(kKernelCode, {}, kReached);
  TRY(guest.enter_at(kUserCode, true));
  TRY(guest.vcpu().set_msr(kLstar, kKernelCode));
  TRY(guest.vcpu().set_msr(kStar, (std::uint64_t{ProbeGuest::kKernelCs} << 32) | (std::uint64_t{0x23} << 48)));
  const auto port = TRY(guest.run());
  if (!port) {
    return host_error("KVM does not run a SYSCALL of the guest's (exit reason {})",
                      static_cast<std::uint32_t>(guest.vcpu().run().exit_reason));
  }
  if (*port == kReached) return false;
  if (*port == kException + kPageFaultVector) return true;
  return host_error("a SYSCALL of the guest's led to port {:#x}", *port);
}

}  // namespace

// One guest for all of it, because making a machine is most of a probe's cost.
Result<HostProbe> probe_host(const KvmDevice& device) {
  const auto guest = std::make_shared<ProbeGuest>(TRY(ProbeGuest::create(device)));
  HostProbe probe;
  probe.quirks.emulates_kernel_code = !TRY(try_instruction(*guest, {0xf3, 0x0f, 0xb8, 0xc0}));  // POPCNT EAX, EAX
  probe.quirks.syscall_keeps_user_segments = TRY(syscall_keeps_user_segments(*guest));
  probe.guest = guest;
  return probe;
}

}  // namespace panicroom::kvm
