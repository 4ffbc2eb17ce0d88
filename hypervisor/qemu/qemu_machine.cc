// The event loop of a QemuMachine: running, stopping, and what a stop means.
#include "hypervisor/qemu/qemu_machine.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>

namespace panicroom::qemu {
namespace {

using hypervisor::Clock;
using hypervisor::Event;

int poll_timeout(Clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  // A wait of a day is as good as one without end, and fits an int.
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 86'400'000));
}

}  // namespace

std::string QemuMachine::engine() const {
  return options_.accelerator == Accelerator::kTcg ? "qemu (tcg)" : "qemu (kvm)";
}

bool QemuMachine::at_reset_vector(const hypervisor::Registers& registers) {
  return (registers.cr0 & hypervisor::kCr0Pe) == 0 && (registers.cs & 0xffff) == 0xf000 && registers.rip == 0xfff0;
}

Error QemuMachine::lose(const Error& error) {
  if (lost_) return *lost_;
  running_ = false;
  // A socket that closes is how QEMU's death is seen first; the process table follows at once.
  pollfd process{domain_->pidfd(), POLLIN, 0};
  const bool dead = ::poll(&process, 1, 200) > 0;
  const auto words = domain_->last_words();
  lost_ = host_error("{}{}{}{}", dead ? "QEMU died: " : "", error.message(),
                     words.empty() ? "" : "; its last words: ", words);
  return *lost_;
}

Result<> QemuMachine::check_stopped(std::string_view what) const {
  if (lost_) return *lost_;
  if (running_) return host_error("{}: the machine is running", what);
  return {};
}

Result<> QemuMachine::check_vcpu(VcpuId vcpu) const {
  if (index(vcpu) < vcpus_.size()) return {};
  return invalid_input("there is no vCPU {}: the machine has {}", vcpu, vcpus_.size());
}

void QemuMachine::set_held(VcpuId vcpu, bool held) {
  if (check_vcpu(vcpu)) vcpus_[index(vcpu)].held = held;
}

bool QemuMachine::held(VcpuId vcpu) const { return check_vcpu(vcpu) && vcpus_[index(vcpu)].held; }

bool QemuMachine::stop_is_queued() const {
  return std::any_of(events_.begin(), events_.end(), [](const Event& event) { return stops(event); });
}

Result<> QemuMachine::resume() {
  TRY(check_stopped("resuming"));
  // What the present stop still has to report comes first.
  if (stop_is_queued()) return {};
  if (std::all_of(vcpus_.begin(), vcpus_.end(), [](const Vcpu& vcpu) { return vcpu.held; })) {
    return host_error("resuming: all vCPUs are held");
  }
  return run();
}

Result<> QemuMachine::run() {
  auto attempt = [&]() -> Result<> {
    TRY(deliver_due());
    std::vector<VcpuId> runners;
    for (std::uint32_t i = 0; i < vcpus_.size(); ++i) {
      if (vcpus_[i].held) continue;
      runners.push_back(VcpuId{i});
      TRY(pass_over(VcpuId{i}));
      // An event of its own, before the others have moved.
      if (stop_is_queued()) return {};
    }
    take_output();
    TRY(stub_->resume(runners));
    running_ = true;
    stop_deadline_.reset();
    return {};
  };
  auto result = attempt();
  if (!result) return lose(result.error());
  return result;
}

Result<> QemuMachine::interrupt() {
  TRY(stub_->interrupt());
  if (!stop_deadline_) stop_deadline_ = Clock::now() + options_.patience;
  return {};
}

Result<> QemuMachine::pause() {
  if (lost_) return *lost_;
  if (!running_) {
    if (!stop_is_queued()) events_.emplace_back(hypervisor::Paused{});
    return {};
  }
  pause_requested_ = true;
  auto asked = interrupt();
  if (!asked) return lose(asked.error());
  return {};
}

void QemuMachine::cancel() {
  // write(2), which eventfd_write() is, is async-signal-safe.
  static_cast<void>(::eventfd_write(cancel_.get(), 1));
}

void QemuMachine::take_output() {
  // One that has ended stays; its fd is -1, which poll(2) passes over.
  for (const auto stream : {hypervisor::Stream::kConsole, hypervisor::Stream::kAgent}) {
    auto& source = stream == hypervisor::Stream::kConsole ? console_ : agent_;
    if (!source) continue;
    auto bytes = source->take();
    if (!bytes.empty()) events_.emplace_back(hypervisor::Output{stream, std::move(bytes)});
  }
}

Clock::time_point QemuMachine::next_wake(Clock::time_point deadline) const {
  auto wake = deadline;
  if (running_ && stop_deadline_) wake = std::min(wake, *stop_deadline_);
  if (running_ && !stop_deadline_) {
    for (const auto& due : due_) wake = std::min(wake, due.at);
  }
  return wake;
}

void QemuMachine::on_wake(Clock::time_point now) {
  if (!running_) return;
  if (stop_deadline_) {
    if (now >= *stop_deadline_) {
      lose(host_error("QEMU hangs: it did not stop within {} ms of being asked to", options_.patience.count()));
    }
    return;
  }
  const bool due = std::any_of(due_.begin(), due_.end(), [&](const DueInterrupt& item) { return now >= item.at; });
  if (!due && !reset_seen_) return;
  if (auto asked = interrupt(); !asked) lose(asked.error());
}

Event QemuMachine::next_event(Clock::time_point deadline) {
  const bool late = Clock::now() >= deadline;
  for (;;) {
    eventfd_t ignored = 0;
    if (::eventfd_read(cancel_.get(), &ignored) == 0) return hypervisor::Cancelled{};
    if (!events_.empty()) {
      auto event = std::move(events_.front());
      events_.pop_front();
      return event;
    }
    if (lost_) return hypervisor::MachineLost{*lost_};

    enum { kCancel, kConsole, kAgent, kProcess, kMonitor, kStub, kCount };
    std::array<pollfd, kCount> fds{};
    const auto watch = [&](std::size_t slot, int fd) { fds[slot] = {fd, POLLIN, 0}; };
    watch(kCancel, cancel_.get());
    watch(kConsole, console_->fd());
    watch(kAgent, agent_->fd());
    watch(kProcess, domain_->pidfd());
    watch(kMonitor, monitor_->fd());
    watch(kStub, running_ ? stub_->fd() : -1);
    if (::poll(fds.data(), fds.size(), poll_timeout(next_wake(deadline))) < 0 && errno != EINTR) {
      lose(errno_error(errno, "waiting for QEMU"));
      continue;
    }
    if (fds[kCancel].revents != 0) continue;
    if (fds[kStub].revents != 0) {
      auto stop = stub_->read_stop();
      if (!stop) {
        take_output();
        lose(stop.error());
      } else if (*stop) {
        on_stop(**stop);
      }
      // A run of stops that mean nothing to the caller must not outlast its deadline.
      if (!events_.empty() || lost_) continue;
    }
    if (fds[kProcess].revents != 0) {
      take_output();
      lose(host_error("its process {} has ended", domain_->pid()));
      continue;
    }
    if (fds[kMonitor].revents != 0) {
      monitor_->take_wake();
      if (monitor_->take_resets() > 0 && options_.accelerator == Accelerator::kKvm) reset_seen_ = true;
    }
    const auto now = Clock::now();
    on_wake(now);
    if (lost_) continue;
    // A guest that never stops writing must not keep a caller from its deadline: of two late calls one gets no output.
    if ((fds[kConsole].revents != 0 || fds[kAgent].revents != 0) && !(late && late_output_given_)) {
      take_output();
      if (!events_.empty()) {
        late_output_given_ = now >= deadline;
        continue;
      }
    }
    if (now >= deadline) {
      late_output_given_ = false;
      return hypervisor::DeadlinePassed{};
    }
  }
}

void QemuMachine::on_stop(const rsp::StopReply& stop) {
  running_ = false;
  stop_deadline_.reset();
  take_output();
  auto examined = [&]() -> Result<> {
    if (stop.is_gone()) return host_error("its gdbstub says that it ended with status {}", stop.code);
    if (stop.kind == rsp::RawStopReply::Kind::kSignal && stop.code == rsp::kSignalQuit) return on_shutdown();
    if (stop.is_trap() && stop.vcpu) TRY(examine_trap(*stop.vcpu));
    if (reset_seen_) {
      reset_seen_ = false;
      on_reset();
      events_.emplace_back(hypervisor::GuestReset{});
    }
    return {};
  }();
  if (!examined) {
    lose(examined.error());
    return;
  }
  if (!stop_is_queued()) {
    if (!pause_requested_) {
      static_cast<void>(run());  // A failure is a loss already.
      return;
    }
    events_.emplace_back(hypervisor::Paused{});
  }
  pause_requested_ = false;
}

// A vCPU reports a breakpoint, or a stop that came too late for an earlier report, or the rest of a single step.
Result<> QemuMachine::examine_trap(VcpuId reported) {
  const auto registers = TRY(stub_->read_registers(reported));
  if (index(reported) == 0 && options_.accelerator == Accelerator::kTcg && at_reset_vector(registers)) {
    on_reset();
    events_.emplace_back(hypervisor::GuestReset{});
    return {};
  }
  TRY(examine(reported, registers));
  // QEMU names one vCPU, and often the same one, if several are at breakpoints: the others must not have to wait for
  // their turn.
  for (std::uint32_t i = 0; i < vcpus_.size(); ++i) {
    const VcpuId other{i};
    if (other == reported || vcpus_[i].held || vcpus_[i].standing_at) continue;
    const auto others = TRY(stub_->read_registers(other));
    if (!wanted_.contains(Gva{others.rip}) || TRY(waits_behind_hlt(other, others))) continue;
    TRY(examine(other, others));
  }
  return {};
}

// A halted vCPU's RIP is that of the next instruction, which it is not about to execute.
Result<bool> QemuMachine::waits_behind_hlt(VcpuId vcpu, const hypervisor::Registers& registers) {
  constexpr std::array kMwait{std::byte{0x0f}, std::byte{0x01}, std::byte{0xc9}};
  constexpr std::byte kHlt{0xf4};
  std::array<std::byte, 3> before{};
  if (!reader(vcpu)(Gva{registers.rip - before.size()}, before)) return false;
  if (before.back() != kHlt && before != kMwait) return false;
  return is_halted(vcpu);
}

Result<> QemuMachine::examine(VcpuId vcpu, const hypervisor::Registers& registers) {
  const Gva pc{registers.rip};
  if (!wanted_.contains(pc)) return {};
  auto& state = vcpus_[index(vcpu)];
  const bool again = state.interrupted && hypervisor::same_pass(*state.interrupted, registers, reader(vcpu));
  state.interrupted.reset();
  state.standing_at = pc;
  if (again) return {};
  for (const auto& [id, breakpoint] : breakpoints_) {
    if (breakpoint.at != pc || (!breakpoint.vcpus.empty() && !breakpoint.vcpus.contains(vcpu))) continue;
    events_.emplace_back(hypervisor::BreakpointHit{vcpu, id, pc});
  }
  return {};
}

void QemuMachine::forget_passes() {
  for (auto& vcpu : vcpus_) {
    vcpu.standing_at.reset();
    vcpu.interrupted.reset();
  }
}

// Every vCPU is at its beginning.
void QemuMachine::on_reset() {
  forget_passes();
  due_.clear();
  if (options_.accelerator == Accelerator::kTcg) vcpus_[0].standing_at = Gva{0xfff0};
}

// The guest has powered itself off. Nothing can run in QEMU's state after that, and libvirt ends it: the machine's last
// event.
Result<> QemuMachine::on_shutdown() {
  stub_.reset();
  pollfd process{domain_->pidfd(), POLLIN, 0};
  if (::poll(&process, 1, poll_timeout(Clock::now() + options_.patience)) <= 0) {
    return host_error("it goes on {} ms after the guest powered itself off", options_.patience.count());
  }
  take_output();
  events_.emplace_back(hypervisor::GuestShutdown{});
  lost_ = host_error("the guest has powered itself off");
  running_ = false;
  return {};
}

}  // namespace panicroom::qemu
