// A machine under test in a QEMU that libvirt manages. Its promises are hypervisor/machine.h's; here is how they are
// kept.
//
// Stops, registers, memory and who runs go over QEMU's gdbstub; snapshots and what the stub does not know over the
// monitor, through libvirt; the guest's output over two sockets. One thread polls them all. Physical memory is read
// from QEMU's own (guest_ram.h) where the host allows that.
//
// - Held: left out of what the stub is told to continue. Under the stub's single step every other vCPU is frozen.
// - A breakpoint that was reported is stepped over, its vCPU alone, before the machine runs again. QEMU holds
// interrupts off
//   in a single step, NMIs too, so only the instruction's own exceptions can come between (interrupted_pass.h).
// - A breakpoint set where a vCPU stands, reported for another breakpoint, counts from the next pass on. After
// restore()
//   nothing counts as reported: a vCPU that stands at a breakpoint reports it on resume().
// - Interrupts are made by message: the stub writes to physical memory as a device would, and the local APICs take a
//   write to their page for a message-signalled interrupt. So an interrupt reaches one vCPU, masked, halted or held.
// - A machine check goes over the monitor, whose command writes the bank and raises the exception. With KVM that would
//   be the host kernel's affair, and has not been tried: there the capability is missing.
// - The firmware writes some lines of its own to the agent's port when it starts.
// - Reset: a breakpoint at the reset vector stops the machine before the first instruction after it.
// - Every wait for QEMU has an end. When it comes, or QEMU dies, the machine is lost, and says with which last words.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "hypervisor/interrupted_pass.h"
#include "hypervisor/machine.h"
#include "hypervisor/qemu/apic_routing.h"
#include "hypervisor/qemu/domain.h"
#include "hypervisor/qemu/guest_ram.h"
#include "hypervisor/qemu/output_stream.h"
#include "hypervisor/rsp/client.h"
#include "hypervisor/starvation.h"

namespace panicroom::qemu {

struct QemuOptions {
  Accelerator accelerator = Accelerator::kTcg;
  // Short: it is part of unix socket paths. One for all machines of a process.
  std::filesystem::path state_directory;
  // How long QEMU may take for one answer, or to stop, before it counts as hanging. On a host with six processes for
  // each CPU an answer took more than ten seconds.
  std::chrono::milliseconds patience{30'000};
  // The same for its start, and for writing or reading a snapshot.
  std::chrono::milliseconds start_patience{60'000};
  std::chrono::milliseconds snapshot_patience{60'000};
  // False: as on a host that lets no process look into another.
  bool look_into_qemu = true;
};

// What QEMU's monitor reports by itself, passed from libvirt's event thread to the machine's.
class MonitorEvents {
 public:
  static Result<std::shared_ptr<MonitorEvents>> create();

  void report(std::string_view event);
  // Readable (poll(2)) after a report, until take().
  [[nodiscard]] int fd() const { return wake_.get(); }
  void take_wake();
  // Resets since the last call.
  unsigned take_resets();

 private:
  std::mutex mutex_;
  UniqueFd wake_;
  unsigned resets_ = 0;
};

class QemuMachine final : public hypervisor::Machine {
 public:
  // The factory: a machine that stands before its first instruction. kInvalidInput for a configuration that cannot be.
  static Result<std::unique_ptr<QemuMachine>> create(const hypervisor::MachineConfig& config,
                                                     const QemuOptions& options);
  ~QemuMachine() override;

  [[nodiscard]] std::string engine() const override;
  [[nodiscard]] bool can(hypervisor::Capability capability) const override {
    if (capability == hypervisor::Capability::kIpiRecord) return false;
    return capability != hypervisor::Capability::kMce || options_.accelerator == Accelerator::kTcg;
  }
  [[nodiscard]] std::uint32_t vcpus() const override { return static_cast<std::uint32_t>(vcpus_.size()); }
  [[nodiscard]] std::chrono::nanoseconds starved() const override {
    return hypervisor::wait_of_guest(domain_->pid(), threads_);
  }
  // QEMU's process, for tests that kill or stop it.
  [[nodiscard]] pid_t pid() const { return domain_->pid(); }

  Result<> resume() override;
  Result<> pause() override;
  hypervisor::Event next_event(hypervisor::Clock::time_point deadline) override;
  void cancel() override;
  Result<> destroy() override;

  Result<> snapshot(const std::string& snapshot_name) override;
  Result<> restore(const std::string& snapshot_name) override;

  void set_held(VcpuId vcpu, bool held) override;
  [[nodiscard]] bool held(VcpuId vcpu) const override;

  Result<hypervisor::BreakpointId> add_breakpoint(Gva at, std::set<VcpuId> vcpus) override;
  Result<> remove_breakpoint(hypervisor::BreakpointId id) override;

  Result<hypervisor::Registers> registers(VcpuId vcpu) override;
  Result<> set_registers(VcpuId vcpu, const hypervisor::Registers& registers) override;
  Result<bool> halted(VcpuId vcpu) override;
  Result<> read_memory(VcpuId vcpu, Gva at, std::span<std::byte> into) override;
  Result<> write_memory(VcpuId vcpu, Gva at, std::span<const std::byte> bytes) override;
  Result<> read_physical(Gpa at, std::span<std::byte> into) override;
  Result<> write_physical(Gpa at, std::span<const std::byte> bytes) override;
  Result<> step(VcpuId vcpu) override;
  Result<bool> has_hit_to_report(VcpuId vcpu) override;

  Result<> inject_nmi(VcpuId vcpu) override;
  Result<> inject_mce(VcpuId vcpu, const hypervisor::MachineCheck& error) override;
  Result<> watch_ipis(std::span<const hypervisor::IcrStore> sites, std::vector<hypervisor::IpiRule> rules) override;
  Result<> unwatch_ipis() override;
  Result<> set_ipi_rule_active(std::size_t rule, bool active) override;
  // Nobody sees the IPIs of a guest that is not stopped at them.
  hypervisor::UnwatchedIpis take_unwatched_ipis() override { return {}; }

 private:
  struct Vcpu {
    bool held = false;
    // Where it stands at a breakpoint that has been dealt with: it is stepped over before the vCPU runs again.
    std::optional<Gva> standing_at;
    std::optional<hypervisor::InterruptedPass> interrupted;
  };
  struct Breakpoint {
    Gva at;
    std::set<VcpuId> vcpus;
  };
  struct DueInterrupt {
    hypervisor::Clock::time_point at;
    Msi message;
  };

  QemuMachine() = default;

  Result<> start(const hypervisor::MachineConfig& config, const QemuOptions& options);
  Result<> connect_stub();
  Result<> find_ram();
  Result<> check_config(const hypervisor::MachineConfig& config) const;
  Result<> check_pins(const std::vector<std::uint32_t>& pin) const;

  // Whether the machine may be looked at now; `what` is for the message.
  Result<> check_stopped(std::string_view what) const;
  Result<> check_vcpu(VcpuId vcpu) const;
  // From now on the machine is lost. Gives the reason back.
  Error lose(const Error& error);
  // Takes a failure of the stub or the monitor for the machine's end.
  template <typename T>
  Result<T> or_lose(Result<T> result);

  // The firmware's entry, CS.base ffff0000 and IP fff0: the only place in real mode that a breakpoint is kept at.
  static bool at_reset_vector(const hypervisor::Registers& registers);

  // --- Running (qemu_machine.cc)
  Result<> run();
  void on_stop(const rsp::StopReply& stop);
  Result<> examine_trap(VcpuId reported);
  Result<> examine(VcpuId vcpu, const hypervisor::Registers& registers);
  Result<bool> waits_behind_hlt(VcpuId vcpu, const hypervisor::Registers& registers);
  Result<> on_shutdown();
  void on_reset();
  void take_output();
  [[nodiscard]] bool stop_is_queued() const;
  Result<> interrupt();
  [[nodiscard]] hypervisor::Clock::time_point next_wake(hypervisor::Clock::time_point deadline) const;
  void on_wake(hypervisor::Clock::time_point now);
  void forget_passes();

  // --- One instruction (stepping.cc)
  // What ended a step besides its instruction.
  enum class StepEnd { kExecuted, kDiverted, kReset, kShutdown };
  Result<> pass_over(VcpuId vcpu);
  Result<StepEnd> step_once(VcpuId vcpu, const hypervisor::Registers& before);
  Result<StepEnd> step_whole_instruction(VcpuId vcpu, const hypervisor::Registers& before);
  Result<> settle(VcpuId vcpu, StepEnd end);
  Result<> store_icr(VcpuId vcpu, const hypervisor::IcrStore& site, const hypervisor::Registers& registers);
  Result<std::vector<ApicState>> apics_for(const IcrCommand& command, VcpuId source);
  Result<> deliver(const Msi& message);
  Result<> deliver_due();
  hypervisor::MemoryReader reader(VcpuId vcpu);
  Result<bool> is_halted(VcpuId vcpu);

  Result<> read_bulk(Gpa at, std::span<std::byte> into);

  // --- Breakpoints that QEMU has, whoever wants them
  Result<> want_breakpoint(Gva at);
  Result<> unwant_breakpoint(Gva at);

  std::filesystem::path sockets_;
  std::filesystem::path disk_;
  QemuOptions options_;
  std::vector<RamPiece> ram_pieces_;
  std::optional<GuestRam> ram_;  // As long as the host lets this process look into QEMU's.
  std::unique_ptr<Domain> domain_;
  std::vector<pid_t> threads_;  // Of the vCPUs.
  std::shared_ptr<MonitorEvents> monitor_;
  std::optional<rsp::Client> stub_;
  std::optional<OutputStream> console_;
  std::optional<OutputStream> agent_;
  UniqueFd cancel_;

  bool running_ = false;
  bool pause_requested_ = false;
  bool reset_seen_ = false;                                     // By the monitor; under TCG the reset vector tells.
  std::optional<hypervisor::Clock::time_point> stop_deadline_;  // By when an asked-for stop must have come.
  bool late_output_given_ = false;
  std::optional<Error> lost_;
  bool destroyed_ = false;

  std::deque<hypervisor::Event> events_;
  std::vector<Vcpu> vcpus_;
  std::map<hypervisor::BreakpointId, Breakpoint> breakpoints_;  // In the order in which they were set.
  std::uint32_t next_breakpoint_ = 1;
  std::map<Gva, unsigned> wanted_;
  std::map<Gva, hypervisor::IcrStore> sites_;
  hypervisor::IpiPolicy policy_;
  std::vector<DueInterrupt> due_;
  std::set<std::string> snapshots_;
};

}  // namespace panicroom::qemu
