// A machine under test in this process, on /dev/kvm. Its promises are hypervisor/machine.h's; here is how they are
// kept.
//
// One thread for each vCPU runs KVM_RUN; one more, the clockwork, waits for the local APICs' timers and for delayed
// IPIs. One mutex guards everything else, and is free only while a vCPU is in KVM_RUN. The caller's thread looks at the
// machine while all vCPU threads are parked.
//
// - Local APICs, IOAPIC and devices are panicroom's own, and every interrupt passes through InterruptFabric. What is
//   pending there is given to KVM just before the vCPU runs, and taken back when it stops, so that a stopped machine's
//   interrupts are all in the local APICs, wherever its registers are moved to.
// - A stop: whoever has something to report asks all vCPUs to park, and the event is given out when they have. The
// guest's
//   clocks, time-stamp counters included, stand still from then until resume(), where KVM lets them.
// - Breakpoints are debug registers, and INT3 in the code where these do not suffice (breakpoint_places.h). The INT3
// are
//   in memory only while the machine runs. A breakpoint that was reported is stepped over, its vCPU alone and no
//   interrupt let in, before the machine runs again.
// - Held: its thread stays parked.
// - A snapshot holds memory as an image of which RAM is a copy-on-write mapping from then on (memory/guest_memory.h).
// - On hosts that emulate kernel code, their defects are repaired (host_quirks.h), which takes one debug register; a
//   bzImage is unpacked by the host, so that the kernel runs where it was linked.
// - After a reset only restore() and destroy() are of use: there is no firmware that would boot again.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "hypervisor/interrupted_pass.h"
#include "hypervisor/kvm/apic/interrupt_fabric.h"
#include "hypervisor/kvm/breakpoint_places.h"
#include "hypervisor/kvm/devices/port_map.h"
#include "hypervisor/kvm/guest_clock.h"
#include "hypervisor/kvm/host_quirks.h"
#include "hypervisor/kvm/memory/guest_memory.h"
#include "hypervisor/kvm/vcpu.h"
#include "hypervisor/kvm/vm.h"
#include "hypervisor/machine.h"

namespace panicroom::kvm {

struct KvmOptions {
  // How long a vCPU may take to stop, or to execute one instruction, before it counts as hanging.
  std::chrono::milliseconds patience{30'000};
};

// Whether this host's /dev/kvm can be used; if not, kUnsupported with what mends it.
Result<> usable();
// What probe_host() finds here; found once for each process. Any thread.
Result<HostQuirks> quirks_of_host();

class KvmMachine final : public hypervisor::Machine {
 public:
  // The factory: a machine that stands before its first instruction. kInvalidInput for a configuration that cannot be,
  // kUnsupported if the host has no usable KVM.
  static Result<std::unique_ptr<KvmMachine>> create(const hypervisor::MachineConfig& config,
                                                    const KvmOptions& options = {});
  ~KvmMachine() override;

  [[nodiscard]] std::string engine() const override;
  [[nodiscard]] bool can(hypervisor::Capability capability) const override {
    return capability != hypervisor::Capability::kMce || runners_.front()->vcpu.machine_checks();
  }
  [[nodiscard]] std::uint32_t vcpus() const override { return static_cast<std::uint32_t>(runners_.size()); }
  [[nodiscard]] std::chrono::nanoseconds starved() const override;
  // How often KVM_RUN has come back, all vCPUs together.
  [[nodiscard]] std::uint64_t exits() const { return exits_.load(std::memory_order_relaxed); }

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
  hypervisor::UnwatchedIpis take_unwatched_ipis() override;

 private:
  enum class Task { kPark, kRun, kStep, kQuit };

  // What of a runner a snapshot holds beside KVM's part.
  struct RunState {
    // In HLT; whether then an NMI would be let in, and an interrupt.
    bool halted = false;
    bool nmi_masked = false;
    bool interrupts_on = false;
  };

  struct Runner {
    Runner(VcpuId number, Vcpu kvms) : id(number), vcpu(std::move(kvms)) {}

    VcpuId id;
    Vcpu vcpu;
    std::thread thread;
    pid_t tid = 0;
    std::condition_variable wake;
    Task task = Task::kPark;
    bool parked = true;
    bool in_guest = false;
    bool held = false;
    RunState run;
    // A debug exit at an address that may be a breakpoint's; looked at when all have parked.
    bool trapped = false;
    // The exit that ends a single step has come.
    bool stepped = false;
    // Where it stands at a breakpoint that has been dealt with: it is stepped over before the vCPU runs again.
    std::optional<Gva> standing_at;
    std::optional<hypervisor::InterruptedPass> interrupted;
    std::vector<Gva> hardware;          // Breakpoints in its debug registers.
    std::optional<DebugControl> armed;  // What KVM was told last.
    // The entry of the guest's page fault handler, where SYSCALL is repaired on hosts that need it.
    std::uint64_t idt_base = 0;
    std::optional<Gpa> page_fault_gate;
    std::optional<Gva> page_fault_entry;
    // There with a page fault that is one: a single step gets past the breakpoint, with no interrupt let in.
    bool passing_page_fault = false;
  };

  struct Breakpoint {
    Gva at;
    std::set<VcpuId> vcpus;
  };
  struct Patch {
    Gpa where;
    std::byte original;
  };
  struct Snapshot {
    std::shared_ptr<const MemoryImage> memory;
    std::vector<VcpuState> vcpus;
    std::vector<RunState> runs;
    InterruptFabric::State fabric;
    Devices devices;
    std::uint16_t irq_lines = 0;
    GuestClock::State clock;
    bool was_reset = false;
  };
  using Lock = std::unique_lock<std::mutex>;

  KvmMachine() = default;

  // machine_start.cc
  Result<> start(const hypervisor::MachineConfig& config, const KvmOptions& options);
  Result<> check_config(const hypervisor::MachineConfig& config) const;
  Result<> make_clock();
  Result<> enter_kernel(const hypervisor::MachineConfig& config);
  Result<> start_threads(const std::vector<std::uint32_t>& pin);

  // kvm_machine.cc
  [[nodiscard]] Result<> check_stopped(std::string_view what) const;
  [[nodiscard]] Result<> check_vcpu(VcpuId vcpu) const;
  [[nodiscard]] bool stop_is_queued() const;
  [[nodiscard]] bool all_parked() const;
  Error lose(Error reason);
  Result<> run(Lock& lock);
  Result<> pass_over(Runner& runner, Lock& lock);
  Result<> step_and_wait(Runner& runner, Lock& lock);
  Result<> note_exception(Runner& runner, const hypervisor::Registers& before, const hypervisor::Registers& after);
  void on_stopped(Lock& lock);
  Result<> examine(Runner& runner);
  [[nodiscard]] bool hit_is_queued(VcpuId vcpu) const;
  void take_output();
  void forget_passes();
  void notify();

  // vcpu_loop.cc: in the vCPU's own thread, but for what it says.
  void loop(Runner& runner);
  Result<> run_here(Runner& runner, Lock& lock);
  Result<> step_here(Runner& runner, Lock& lock);
  // True if the instruction to be stepped was HLT, and the vCPU waits now.
  Result<bool> step_into_halt(Runner& runner);
  Result<> enter(Runner& runner, Lock& lock);
  Result<> let_in_interrupts(Runner& runner);
  Result<> take_back_interrupts(Runner& runner);
  Result<> finish(Runner& runner);
  Result<> reset_vcpu(Runner& runner, std::optional<std::uint8_t> startup);
  [[nodiscard]] bool wakes(const Runner& runner) const;
  [[nodiscard]] Result<std::vector<Gva>> ends_of_step(const Runner& runner) const;
  Result<> arm(Runner& runner, bool single_step);
  void kick(Runner& runner);  // Any thread.
  void kick_woken();          // Any thread.
  void request_stop();        // Any thread.
  void clockwork();           // The clockwork's thread.
  void wind_up(VcpuId vcpu);  // Any thread: the vCPU's timer may be due earlier than thought.
  [[nodiscard]] Now now_of(const Runner& runner) const;
  [[nodiscard]] Moment moment_of(const Runner& runner) const;

  // exits.cc: in the vCPU's own thread.
  Result<> on_exit(Runner& runner);
  void on_port(Runner& runner);
  void on_memory(Runner& runner);
  void on_msr(Runner& runner);
  void on_reset(hypervisor::Event how);
  Result<> on_halt(Runner& runner);
  Result<> on_debug(Runner& runner);
  Result<> on_internal_error(Runner& runner);
  void on_written(Runner& runner, const InterruptFabric::Written& written);
  void set_irq_lines();
  [[nodiscard]] bool is_wanted(const Runner& runner, Gva at) const;

  // syscall_repair.cc: in the vCPU's own thread.
  Result<> watch_page_faults(Runner& runner);
  // True if the page fault was a SYSCALL that failed, and the vCPU now stands at its handler.
  Result<bool> repair_syscall(Runner& runner);

  // guest_state.cc
  [[nodiscard]] bool read_virtual(const Runner& runner, Gva at, std::span<std::byte> into) const;
  Result<> write_virtual(const Runner& runner, Gva at, std::span<const std::byte> bytes);
  [[nodiscard]] static Error not_mapped(std::size_t length, Gva at, VcpuId vcpu);
  [[nodiscard]] hypervisor::MemoryReader reader(const Runner& runner) const;
  template <typename Piece>
  Result<> for_each_piece(const Runner& runner, Gva at, std::size_t length, Piece piece) const;
  void place();
  Result<> insert_patches();
  void remove_patches();

  Runner& runner(VcpuId vcpu) { return *runners_[index(vcpu)]; }

  KvmOptions options_;
  HostQuirks quirks_;
  std::shared_ptr<void> probe_guest_;  // Of the process's first machine: freed with it.
  std::optional<Vm> vm_;
  std::optional<GuestMemory> memory_;
  std::optional<InterruptFabric> fabric_;
  Devices devices_;
  std::uint16_t irq_lines_ = 0;
  GuestClock clock_;
  kvm_sregs initial_sregs_ = {};  // As KVM makes a vCPU: the processor's state after a reset.

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Runner>> runners_;
  std::condition_variable parked_;
  std::thread clockwork_;
  std::condition_variable clockwork_wake_;
  std::chrono::nanoseconds clockwork_next_ =
      std::chrono::nanoseconds::max();  // When it means to wake, by the guest's clock.
  bool quit_ = false;

  UniqueFd wake_;  // Something happened that next_event() may want to know.
  UniqueFd cancel_;
  bool running_ = false;
  bool stopping_ = false;  // While running_: all are to park.
  bool pause_requested_ = false;
  bool was_reset_ = false;
  bool destroyed_ = false;
  std::optional<hypervisor::Clock::time_point> stop_deadline_;
  std::optional<Error> lost_;
  std::string console_, agent_;
  std::deque<hypervisor::Event> reported_;  // By vCPU threads; stops. Given out once all have parked.
  std::deque<hypervisor::Event> events_;
  bool late_output_given_ = false;
  std::atomic<std::uint64_t> exits_ = 0;

  std::map<hypervisor::BreakpointId, Breakpoint> breakpoints_;  // In the order in which they were set.
  std::uint32_t next_breakpoint_ = 1;
  std::set<Gva> software_;
  std::map<Gva, Patch> patches_;  // What is in memory now.
  std::map<std::string, Snapshot> snapshots_;
};

}  // namespace panicroom::kvm
