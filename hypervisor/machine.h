// A machine under test: one small all-stop interface that every engine keeps in full, or says what it cannot do.
//
// All-stop: at any time the whole machine is either stopped or running. resume() starts every vCPU that is not held;
// next_event() waits for what happens. A stop event (see stops()) means that no vCPU executes any more; an output event
// leaves the machine running. Registers and memory may be looked at and changed only while it is stopped.
//
// Threading: a Machine belongs to one thread. The one exception is cancel(), which any thread and any signal handler
// may call.
//
// Errors: every failure is ErrorKind::kHost (the engine, the host) unless the function says otherwise. After a
// MachineLost or GuestShutdown event only destroy() is of use.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/ipi.h"
#include "hypervisor/registers.h"

namespace panicroom::hypervisor {

using Clock = std::chrono::steady_clock;

// What a machine is made of.
struct MachineConfig {
  std::string name;  // Unique among the machines of one run directory; letters, digits, '-' and '.'.
  std::uint32_t vcpus = 1;
  std::uint64_t memory_bytes = 0;
  std::vector<std::uint32_t> pin;  // pin[n]: the host CPU for vCPU n. Empty: the host's scheduler decides.
  std::filesystem::path kernel;    // A bzImage.
  std::filesystem::path initramfs;
  std::string cmdline;
  std::filesystem::path directory;  // The engine's own files; exists, is private to this machine, and outlives it.
};

// Things that an engine may lack. What is not listed here, every engine has.
enum class Capability {
  kSnapshot,     // snapshot() and restore().
  kIpiPolicy,    // watch_ipis() with rules other than as-sent.
  kTargetedNmi,  // inject_nmi() reaches exactly the named vCPU.
  kMce,          // inject_mce().
  kIpiRecord,    // take_unwatched_ipis().
};
std::string_view name(Capability capability);

// An error that a vCPU's hardware reports: Intel SDM Vol. 3B, 15.3.2 "Error-Reporting Register Banks".
inline constexpr std::uint32_t kMaxMceBank = 31;
struct MachineCheck {
  // Of the engine's banks one that the kernel has turned on whatever CPU it takes this one for: it has quirks for bank
  // 0 of the oldest Intel, and bank 4 of the oldest AMD CPUs.
  std::uint32_t bank = 1;
  // IA32_MCi_STATUS: valid (63), uncorrected (61), reported by an exception (60), the CPU's context corrupt (57); an
  // internal parity error.
  std::uint64_t status = 0xb200'0000'0000'0005;

  friend bool operator==(const MachineCheck&, const MachineCheck&) = default;
};
// "0xb200000000000005 in bank 1".
std::string to_text(const MachineCheck& error);
// What the handler finds in IA32_MCG_STATUS (SDM Vol. 3B, 15.3.1.2): a machine check is being handled, and where the
// CPU's context is not corrupt, it can go on where it was interrupted.
std::uint64_t global_status(const MachineCheck& error);

// Bytes that the guest wrote since the last event of the same stream.
enum class Stream { kConsole, kAgent };
struct Output {
  Stream stream;
  std::string bytes;
};

enum class BreakpointId : std::uint32_t {};

// A vCPU is about to execute the instruction at a breakpoint: `at` is its RIP, nothing of the instruction has happened.
// Reported once for each pass: an interrupt taken at this instruction and returned from does not count twice.
struct BreakpointHit {
  VcpuId vcpu;
  BreakpointId id;
  Gva at;
};

// A vCPU has sent an IPI that is being watched. The policy has been applied and the store to the ICR is done: what is
// delivered is already pending on its targets, and the source stands at its next instruction.
struct IpiSent {
  Ipi ipi;
};

// IPIs that the guest sent while none were watched.
struct UnwatchedIpis {
  struct Sent {
    Clock::time_point at;
    Ipi ipi;
  };
  std::vector<Sent> sent;  // Oldest first.
  std::uint64_t lost = 0;  // Older ones, for which there was no room.
};

struct GuestReset {};      // The guest asked for a reset, or triple-faulted; not one instruction after it counts.
struct GuestShutdown {};   // The guest powered itself off: the machine's last event.
struct Paused {};          // pause() took effect.
struct DeadlinePassed {};  // next_event()'s deadline; the machine is still running.
struct Cancelled {};       // cancel() was called; the machine may be running.
struct MachineLost {       // The engine died or does not answer.
  Error reason;
};

using Event = std::variant<Output, BreakpointHit, IpiSent, GuestReset, GuestShutdown, Paused, DeadlinePassed, Cancelled,
                           MachineLost>;

// True if no vCPU runs any more after this event.
bool stops(const Event& event);
// True for that vCPU's BreakpointHit.
bool is_hit_of(const Event& event, VcpuId vcpu);

class Machine {
 public:
  Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  // Ends the guest, whatever state it is in.
  virtual ~Machine() = default;

  // "qemu (tcg)", for the report.
  [[nodiscard]] virtual std::string engine() const = 0;
  [[nodiscard]] virtual bool can(Capability capability) const = 0;
  [[nodiscard]] virtual std::uint32_t vcpus() const = 0;
  // How long the guest had to wait for CPUs of the host's: its vCPUs that were ready to run, and the threads that work
  // for them. Counts from some time in the past, and only grows. 0 where the host does not tell. At any time.
  [[nodiscard]] virtual std::chrono::nanoseconds starved() const = 0;

  // --- Lifecycle. A Machine is made stopped before its first instruction (see the engine's own factory).
  // Runs every vCPU that is not held; an error if all are held. First what the present stop has still to report is
  // given out by next_event(), and nothing runs.
  virtual Result<> resume() = 0;
  // Asks for a stop; it has taken effect when next_event() returns a stop event (Paused, or another that came first).
  virtual Result<> pause() = 0;
  // Waits for an event. Output is never lost: what was written before a stop is reported before or after that stop, and
  // in either case before an event of a later resume().
  virtual Event next_event(Clock::time_point deadline) = 0;
  // Makes the current or the next next_event() return Cancelled. Async-signal-safe.
  virtual void cancel() = 0;
  // Ends the guest and frees everything that the host gave it. Also done by the destructor, which cannot report.
  virtual Result<> destroy() = 0;

  // Capability::kSnapshot; only while stopped. A snapshot holds vCPUs, memory and devices, not holds, breakpoints or
  // IPI rules, which stay what they are. restore() may be called in any stopped state, a reset one included.
  virtual Result<> snapshot(const std::string& snapshot_name) = 0;
  virtual Result<> restore(const std::string& snapshot_name) = 0;

  // --- Who may run. A held vCPU executes nothing, and interrupts for it stay pending; the others go on. Only while
  // stopped; takes effect at the next resume().
  virtual void set_held(VcpuId vcpu, bool held) = 0;
  [[nodiscard]] virtual bool held(VcpuId vcpu) const = 0;

  // --- Breakpoints, on the named vCPUs only (empty: on all). Only while stopped. Two may share an address; each is
  // reported for itself, in the order in which they were set.
  virtual Result<BreakpointId> add_breakpoint(Gva at, std::set<VcpuId> vcpus) = 0;
  virtual Result<> remove_breakpoint(BreakpointId id) = 0;

  // --- State, only while stopped. A write changes nothing else.
  virtual Result<Registers> registers(VcpuId vcpu) = 0;
  virtual Result<> set_registers(VcpuId vcpu, const Registers& registers) = 0;
  // Whether the vCPU waits in HLT for an interrupt.
  virtual Result<bool> halted(VcpuId vcpu) = 0;
  // Through the vCPU's present page tables; kInvalidInput if a byte of it is not mapped.
  virtual Result<> read_memory(VcpuId vcpu, Gva at, std::span<std::byte> into) = 0;
  virtual Result<> write_memory(VcpuId vcpu, Gva at, std::span<const std::byte> bytes) = 0;
  virtual Result<> read_physical(Gpa at, std::span<std::byte> into) = 0;
  virtual Result<> write_physical(Gpa at, std::span<const std::byte> bytes) = 0;
  // Executes one instruction on one vCPU, held or not, while all others stand still. A breakpoint at that instruction
  // is passed: see has_hit_to_report().
  virtual Result<> step(VcpuId vcpu) = 0;
  // Whether the vCPU stands at a breakpoint whose hit has not been given out. The next resume() gives it out before
  // anything runs; a step before that would pass it, and nobody would ever be told.
  virtual Result<bool> has_hit_to_report(VcpuId vcpu) = 0;

  // --- Interrupts.
  // Delivers an NMI to one vCPU, held or not: it is pending when this returns. Only while stopped.
  virtual Result<> inject_nmi(VcpuId vcpu) = 0;
  // Capability::kMce: the vCPU's hardware reports this error, held or not. One that is not corrected is an exception,
  // pending when this returns; a corrected one only lies in its bank. An error while another is being handled, or in a
  // guest that has machine checks off, shuts the vCPU down as hardware would: GuestReset follows. kInvalidInput if the
  // vCPU has no such bank or the guest has the bank turned off. Only while stopped.
  virtual Result<> inject_mce(VcpuId vcpu, const MachineCheck& error) = 0;
  // From now on every IPI that the guest sends through one of `sites` is subject to `rules` (the first that matches
  // decides; none matches: as sent), and reported as IpiSent. Sites are where the running kernel stores to the ICR; an
  // engine that sees ICR writes for itself needs none. Only while stopped.
  virtual Result<> watch_ipis(std::span<const IcrStore> sites, std::vector<IpiRule> rules) = 0;
  virtual Result<> unwatch_ipis() = 0;
  // Whether a rule of watch_ipis(), by its place in the list, takes part: all do until told otherwise. What it has
  // counted stays. Only while stopped.
  virtual Result<> set_ipi_rule_active(std::size_t rule, bool active) = 0;
  // Capability::kIpiRecord: what was sent since the last call and not reported as IpiSent, because nobody watched. A
  // restore takes nothing from it. Empty where the engine does not see them. At any time.
  virtual UnwatchedIpis take_unwatched_ipis() = 0;
};

}  // namespace panicroom::hypervisor
