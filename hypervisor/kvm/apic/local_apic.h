// One vCPU's local APIC: Intel SDM Vol. 3, chapter 11 "Advanced Programmable Interrupt Controller", both as xAPIC
// (memory) and as x2APIC (MSRs).
//
// A plain copyable value: a snapshot is a copy. It has no clock, no locks and no callbacks. What it cannot settle
// itself
// - an IPI to send, an EOI that the IOAPIC waits for - it returns as Effects, and InterruptFabric sees to them.
//
// Everything that the guest does to it is answered: a wrong register sets the ESR, a wrong MSR is a #GP for the caller
// to raise. Not there: CMCI, SMIs (accepted, without effect: there is no SMM), ExtINT (no 8259A stands behind LINT0),
// and relocating the APIC's ID.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "hypervisor/kvm/apic/apic_timer.h"
#include "hypervisor/kvm/apic/interrupt_message.h"
#include "hypervisor/kvm/apic/local_apic_registers.h"
#include "hypervisor/kvm/apic/vector_set.h"

namespace panicroom::kvm {

// What a write leads to beyond the APIC itself.
struct Effects {
  std::optional<IcrCommand> icr;           // To be sent.
  std::optional<std::uint8_t> eoi_vector;  // A level-triggered interrupt has ended: for the IOAPIC.
  friend bool operator==(const Effects&, const Effects&) = default;
};

// Whether the processor executes, or has been initialised by INIT and does nothing until a SIPI (SDM Vol. 3, 9.4).
enum class ProcessorState : std::uint8_t { kRunning, kWaitForSipi };

// The sources of local interrupts, by their place in the local vector table.
enum class Lvt : std::uint8_t { kTimer, kThermal, kPerformance, kLint0, kLint1, kError };
inline constexpr std::size_t kLvtCount = 6;

class LocalApic {
 public:
  // IA32_APIC_BASE's EN and EXTD.
  enum class Mode { kDisabled, kXapic, kX2apic };

  // The bootstrap processor starts in kRunning, the others in kWaitForSipi. `tsc_khz`: how fast Now::tsc runs.
  LocalApic(std::uint32_t apic_id, bool bootstrap, std::uint64_t tsc_khz);
  // Power-up (SDM Vol. 3, 11.4.7.1): everything, the processor state and what was pending included.
  void reset();
  // INIT (11.4.7.3): keeps the ID, IA32_APIC_BASE, and the processor state with its latches, which accept() sees to.
  void init_reset();

  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] bool bootstrap() const { return bootstrap_; }
  [[nodiscard]] Mode mode() const;
  // SVR's bit and EN. While off, fixed interrupts are not accepted; NMI, INIT and SIPI are if EN is set.
  [[nodiscard]] bool software_enabled() const;
  // Where the xAPIC's page lies; meaningful in mode kXapic.
  [[nodiscard]] std::uint64_t base() const { return apic_base_ & apic::kApicBaseAddress; }

  // --- xAPIC: 32-bit accesses to the page, by offset. In another mode nothing is there: all ones, and no effect.
  std::uint32_t read(std::uint32_t offset, Now now);
  Effects write(std::uint32_t offset, std::uint32_t value, Now now);

  // --- MSRs: IA32_APIC_BASE, IA32_TSC_DEADLINE, and the x2APIC's. Nothing: #GP.
  static bool owns_msr(std::uint32_t msr);
  std::optional<std::uint64_t> read_msr(std::uint32_t msr, Now now);
  std::optional<Effects> write_msr(std::uint32_t msr, std::uint64_t value, Now now);

  // --- CR8: TPR's upper half (11.8.6). Only the low 4 bits of `value` count.
  [[nodiscard]] std::uint8_t cr8() const { return static_cast<std::uint8_t>(tpr_ >> 4); }
  void set_cr8(std::uint64_t value) { tpr_ = static_cast<std::uint8_t>((value & 0xf) << 4); }
  // 11.8.3.1.
  [[nodiscard]] std::uint8_t ppr() const;

  // --- Timer. When by the virtual clock advance() will raise an interrupt next; nothing while it is masked.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> next_timer(Now now) const;
  // Raises the timer's interrupt if it is due; true if there was one. read(), write() and the MSRs do so first.
  bool advance(Now now);

  // --- From outside.
  // Whether a message so addressed is for this APIC (11.6.2, 11.12.10). Of a shorthand only the fabric knows.
  [[nodiscard]] bool addressed_by(const Destination& destination) const;
  // Takes a message that is for this APIC. False if it had no effect: the APIC is off, a SIPI was not waited for, the
  // vector is illegal (which the ESR then says).
  bool accept(const Message& message);
  // A source of local interrupts fires, as its LVT entry says; edge. False if masked, or as for accept().
  bool trigger(Lvt source);
  // The processor's NMI pin: an NMI whatever state the APIC is in.
  void raise_nmi() { nmi_pending_ = true; }

  // --- For the vCPU. Whether RFLAGS.IF or an interrupt shadow let it in is the vCPU's to know; until then it stays.
  // The highest vector in IRR that is above the processor's priority.
  [[nodiscard]] std::optional<std::uint8_t> deliverable() const;
  // INTA: moves it from IRR to ISR. The spurious vector (11.9), which has no EOI, if there is none any more.
  std::uint8_t acknowledge();
  // Takes an acknowledge() back whose interrupt the vCPU has not entered: from ISR to IRR. Nothing if not in service.
  void withdraw(std::uint8_t vector);

  // NMIs: one can be pending. restore_nmi() takes a take_nmi() back.
  [[nodiscard]] bool nmi_pending() const { return nmi_pending_; }
  bool take_nmi();
  void restore_nmi() { nmi_pending_ = true; }

  // The vCPU asks take_init() first: true once for each INIT that arrived; this APIC is then init_reset(), and the
  // caller resets the rest of the vCPU. The bootstrap processor stays kRunning, from the reset vector on; another one
  // waits, and is to take neither interrupts nor NMIs meanwhile.
  [[nodiscard]] ProcessorState state() const { return state_; }
  [[nodiscard]] bool init_pending() const { return init_pending_; }
  bool take_init();
  // The SIPI's vector: start at physical address vector * 4096. Makes the processor kRunning.
  [[nodiscard]] bool startup_pending() const { return startup_.has_value(); }
  std::optional<std::uint8_t> take_startup();

  // --- For tests and reports.
  [[nodiscard]] const VectorSet& irr() const { return irr_; }
  [[nodiscard]] const VectorSet& isr() const { return isr_; }
  [[nodiscard]] const VectorSet& tmr() const { return tmr_; }

  friend bool operator==(const LocalApic&, const LocalApic&) = default;

 private:
  [[nodiscard]] bool x2apic() const { return mode() == Mode::kX2apic; }
  [[nodiscard]] std::uint32_t logical_id() const;
  [[nodiscard]] std::optional<std::uint32_t> value_of(std::uint32_t offset, Now now) const;
  bool store(std::uint32_t offset, std::uint32_t value, Now now, Effects& effects);
  void store_svr(std::uint32_t value);
  void store_lvt(Lvt entry, std::uint32_t value);
  [[nodiscard]] std::optional<IcrCommand> send();
  [[nodiscard]] std::optional<IcrCommand> checked(const IcrCommand& command);
  [[nodiscard]] std::optional<std::uint8_t> end_of_interrupt();
  bool store_apic_base(std::uint64_t value);
  bool request(std::uint8_t vector, TriggerMode trigger);
  void accept_init();
  void raise_error(std::uint32_t bits);
  std::uint32_t& lvt(Lvt entry) { return lvt_[static_cast<std::size_t>(entry)]; }
  [[nodiscard]] std::uint32_t lvt(Lvt entry) const { return lvt_[static_cast<std::size_t>(entry)]; }

  std::uint32_t id_;
  bool bootstrap_;
  std::uint64_t apic_base_ = 0;
  std::uint8_t tpr_ = 0;
  std::uint32_t ldr_ = 0;  // The xAPIC's.
  std::uint32_t dfr_ = 0;
  std::uint32_t svr_ = 0;
  VectorSet irr_, isr_, tmr_;
  std::uint32_t esr_ = 0;     // As last latched by a write.
  std::uint32_t errors_ = 0;  // Since then.
  std::uint32_t icr_low_ = 0, icr_high_ = 0;
  std::array<std::uint32_t, kLvtCount> lvt_{};
  ApicTimer timer_;
  ProcessorState state_ = ProcessorState::kRunning;
  bool nmi_pending_ = false;
  bool init_pending_ = false;
  std::optional<std::uint8_t> startup_;
};

}  // namespace panicroom::kvm
