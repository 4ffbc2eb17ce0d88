// A KvmMachine's course: running, stopping, and what is reported of it.
#include "hypervisor/kvm/kvm_machine.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "hypervisor/starvation.h"

namespace panicroom::kvm {
namespace {

using hypervisor::Clock;
using hypervisor::Event;

int poll_timeout(Clock::time_point until) {
  const auto left = until - Clock::now();
  if (left <= Clock::duration::zero()) return 0;
  constexpr std::chrono::milliseconds kMost{3'600'000};
  if (left > kMost) return static_cast<int>(kMost.count());
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

}  // namespace

std::string KvmMachine::engine() const { return quirks_.emulates_kernel_code ? "kvm (emulating)" : "kvm"; }

std::chrono::nanoseconds KvmMachine::starved() const {
  std::vector<pid_t> threads;
  for (const auto& runner : runners_) threads.push_back(runner->tid);
  return hypervisor::wait_of_guest(::getpid(), threads);
}

Result<> KvmMachine::check_stopped(std::string_view what) const {
  if (lost_) return *lost_;
  if (destroyed_) return host_error("{}: the machine is destroyed", what);
  if (running_) return host_error("{}: the machine is running", what);
  return {};
}

Result<> KvmMachine::check_vcpu(VcpuId vcpu) const {
  if (index(vcpu) < runners_.size()) return {};
  return invalid_input("there is no vCPU {}: the machine has {}", vcpu, runners_.size());
}

Error KvmMachine::lose(Error reason) {
  if (!lost_) lost_ = std::move(reason).with_context("the engine kvm");
  notify();
  return *lost_;
}

void KvmMachine::notify() { static_cast<void>(::eventfd_write(wake_.get(), 1)); }

void KvmMachine::cancel() {
  // write(2), which eventfd_write() is, is async-signal-safe.
  static_cast<void>(::eventfd_write(cancel_.get(), 1));
}

bool KvmMachine::stop_is_queued() const {
  return std::any_of(events_.begin(), events_.end(), [](const Event& event) { return stops(event); });
}

bool KvmMachine::all_parked() const {
  return std::all_of(runners_.begin(), runners_.end(), [](const auto& runner) { return runner->parked; });
}

void KvmMachine::set_held(VcpuId vcpu, bool held) {
  const Lock lock(mutex_);
  if (check_vcpu(vcpu)) runner(vcpu).held = held;
}

bool KvmMachine::held(VcpuId vcpu) const {
  const Lock lock(mutex_);
  return check_vcpu(vcpu) && runners_[index(vcpu)]->held;
}

// In whatever thread: what the guest has written is kept, and next_event() told if that is new.
void KvmMachine::take_output() {
  const bool had_none = console_.empty() && agent_.empty();
  console_ += devices_.take_console();
  agent_ += devices_.take_agent();
  if (had_none && !(console_.empty() && agent_.empty())) notify();
}

Result<> KvmMachine::resume() {
  Lock lock(mutex_);
  TRY(check_stopped("resuming"));
  // What the present stop still has to report comes first.
  if (stop_is_queued()) return {};
  if (std::all_of(runners_.begin(), runners_.end(), [](const auto& runner) { return runner->held; })) {
    return host_error("resuming: all vCPUs are held");
  }
  if (was_reset_) return host_error("resuming: the machine was reset, and has no firmware to boot again");
  return run(lock);
}

Result<> KvmMachine::run(Lock& lock) {
  auto attempt = [&]() -> Result<> {
    fabric_->deliver_due(Clock::now());
    for (auto& runner : runners_) {
      if (runner->held) continue;
      TRY(pass_over(*runner, lock));
      // An event of its own, before the others have moved.
      if (stop_is_queued()) return {};
    }
    TRY(insert_patches());
    TRY(clock_.go());
    running_ = true;
    stopping_ = false;
    stop_deadline_.reset();
    for (auto& runner : runners_) {
      if (runner->held) continue;
      // One that is told to park again before it has begun stays parked.
      runner->task = Task::kRun;
      runner->wake.notify_one();
    }
    clockwork_wake_.notify_one();
    return {};
  };
  auto result = attempt();
  if (!result) return lose(result.error());
  return result;
}

// Lets a vCPU that stands at a breakpoint which has been dealt with execute the instruction there, alone.
Result<> KvmMachine::pass_over(Runner& runner, Lock& lock) {
  if (!runner.standing_at) return {};
  auto before = TRY(runner.vcpu.registers());
  const Gva at{before.rip};
  if (at != *runner.standing_at) {  // It was moved.
    runner.standing_at.reset();
    return {};
  }
  runner.standing_at.reset();
  std::array<std::byte, 8> instruction{};
  const bool repeats = read_virtual(runner, at, instruction) && hypervisor::is_repeated_string_operation(instruction);
  // A repeated string operation is stepped to its end, or as far as is reasonable in one go.
  constexpr int kMostIterations = 512;
  for (int i = 0; i < (repeats ? kMostIterations : 1); ++i) {
    TRY(step_and_wait(runner, lock));
    if (stop_is_queued() || runner.run.halted) return {};
    const auto after = TRY(runner.vcpu.registers());
    TRY(note_exception(runner, before, after));
    if (runner.interrupted || after.rip != before.rip) return {};
    before = after;
  }
  if (repeats) runner.interrupted = hypervisor::InterruptedPass{before.rip, before.rsp, before.rcx, std::nullopt};
  return {};
}

// Whether the step led into an exception's handler. KVM steps by the trap flag, and the processor saves it with the
// other flags: the handler's return would bring the guest a trap of its own.
Result<> KvmMachine::note_exception(Runner& runner, const hypervisor::Registers& before,
                                    const hypervisor::Registers& after) {
  runner.interrupted = hypervisor::interrupted_by_step(before, after, reader(runner));
  if (!runner.interrupted || !runner.interrupted->frame || (before.rflags & hypervisor::kRflagsTf) != 0) return {};
  constexpr std::uint64_t kFlagsInFrame = 16;  // Above RIP and CS.
  const Gva at = *runner.interrupted->frame + kFlagsInFrame;
  std::array<std::uint64_t, 1> flags{};
  if (!read_virtual(runner, at, std::as_writable_bytes(std::span(flags)))) return {};
  if ((flags[0] & hypervisor::kRflagsTf) == 0) return {};
  flags[0] &= ~hypervisor::kRflagsTf;
  return write_virtual(runner, at, std::as_bytes(std::span(flags)));
}

// Has the vCPU's thread make a single step, and waits for it. What it leads to is in events_ then.
Result<> KvmMachine::step_and_wait(Runner& runner, Lock& lock) {
  TRY(clock_.go());
  runner.task = Task::kStep;
  runner.parked = false;
  runner.wake.notify_one();
  const auto deadline = Clock::now() + options_.patience;
  const bool in_time = parked_.wait_until(lock, deadline, [&] { return runner.parked; });
  clock_.stop();
  if (!in_time) {
    runner.task = Task::kPark;
    kick(runner);
    parked_.wait_until(lock, Clock::now() + options_.patience, [&] { return runner.parked; });
    return host_error("vCPU {} did not execute an instruction within {} ms", runner.id, options_.patience.count());
  }
  if (lost_) return *lost_;
  while (!reported_.empty()) {
    events_.push_back(std::move(reported_.front()));
    reported_.pop_front();
  }
  return {};
}

Result<> KvmMachine::step(VcpuId vcpu) {
  Lock lock(mutex_);
  TRY(check_stopped("stepping"));
  TRY(check_vcpu(vcpu));
  auto& target = runner(vcpu);
  if (target.run.halted) return invalid_input("vCPU {} waits in HLT: there is nothing to step", vcpu);
  // What the vCPU still had to report is past.
  std::erase_if(events_, [&](const hypervisor::Event& event) { return is_hit_of(event, vcpu); });
  auto done = [&]() -> Result<> {
    const auto before = TRY(target.vcpu.registers());
    target.standing_at.reset();
    TRY(step_and_wait(target, lock));
    const auto after = TRY(target.vcpu.registers());
    return note_exception(target, before, after);
  }();
  if (!done) return lose(done.error());
  return done;
}

bool KvmMachine::hit_is_queued(VcpuId vcpu) const {
  return std::any_of(events_.begin(), events_.end(), [&](const Event& event) { return is_hit_of(event, vcpu); });
}

Result<bool> KvmMachine::has_hit_to_report(VcpuId vcpu) {
  const Lock lock(mutex_);
  TRY(check_stopped("looking for a breakpoint"));
  TRY(check_vcpu(vcpu));
  auto& target = runner(vcpu);
  // A halted vCPU is not about to execute the instruction that it stands at.
  if (!hit_is_queued(vcpu) && !target.run.halted) {
    const Gva at{TRY(target.vcpu.registers()).rip};
    if (target.standing_at != at) TRY(examine(target));
  }
  return hit_is_queued(vcpu);
}

Result<> KvmMachine::pause() {
  const Lock lock(mutex_);
  if (lost_) return *lost_;
  TRY(destroyed_ ? Result<>(host_error("pausing: the machine is destroyed")) : Result<>());
  if (!running_) {
    if (!stop_is_queued()) events_.emplace_back(hypervisor::Paused{});
    return {};
  }
  pause_requested_ = true;
  request_stop();
  return {};
}

// All vCPUs have parked.
void KvmMachine::on_stopped(Lock& lock) {
  running_ = false;
  stopping_ = false;
  stop_deadline_.reset();
  remove_patches();
  while (!reported_.empty()) {
    events_.push_back(std::move(reported_.front()));
    reported_.pop_front();
  }
  for (auto& runner : runners_) {
    if (!std::exchange(runner->trapped, false)) continue;
    if (auto examined = examine(*runner); !examined) {
      lose(examined.error());
      return;
    }
  }
  if (!stop_is_queued()) {
    if (!pause_requested_) {
      static_cast<void>(run(lock));  // A failure is a loss already.
      return;
    }
    events_.emplace_back(hypervisor::Paused{});
  }
  pause_requested_ = false;
}

Result<> KvmMachine::examine(Runner& runner) {
  const auto registers = TRY(runner.vcpu.registers());
  const Gva at{registers.rip};
  const bool again = runner.interrupted && hypervisor::same_pass(*runner.interrupted, registers, reader(runner));
  runner.interrupted.reset();
  runner.standing_at = at;
  if (again) return {};
  for (const auto& [id, breakpoint] : breakpoints_) {
    if (breakpoint.at != at || (!breakpoint.vcpus.empty() && !breakpoint.vcpus.contains(runner.id))) continue;
    events_.emplace_back(hypervisor::BreakpointHit{runner.id, id, at});
  }
  return {};
}

void KvmMachine::forget_passes() {
  for (auto& runner : runners_) {
    runner->standing_at.reset();
    runner->interrupted.reset();
    runner->trapped = false;
  }
}

Event KvmMachine::next_event(Clock::time_point deadline) {
  const bool late = Clock::now() >= deadline;
  Lock lock(mutex_);
  for (;;) {
    eventfd_t ignored = 0;
    if (::eventfd_read(cancel_.get(), &ignored) == 0) return hypervisor::Cancelled{};
    static_cast<void>(::eventfd_read(wake_.get(), &ignored));
    // Of two late calls one gets no output: a guest that never stops writing must not keep a caller from its deadline.
    if (!(late && late_output_given_)) {
      for (const auto stream : {hypervisor::Stream::kConsole, hypervisor::Stream::kAgent}) {
        auto& bytes = stream == hypervisor::Stream::kConsole ? console_ : agent_;
        if (bytes.empty()) continue;
        late_output_given_ = Clock::now() >= deadline;
        return hypervisor::Output{stream, std::exchange(bytes, {})};
      }
    }
    if (!events_.empty()) {
      auto event = std::move(events_.front());
      events_.pop_front();
      if (std::holds_alternative<hypervisor::GuestShutdown>(event))
        lose(host_error("the guest has powered itself off"));
      return event;
    }
    if (lost_) return hypervisor::MachineLost{*lost_};
    if (running_ && stopping_ && all_parked()) {
      on_stopped(lock);
      continue;
    }
    const auto now = Clock::now();
    if (running_ && stop_deadline_ && now >= *stop_deadline_) {
      lose(host_error("a vCPU did not stop within {} ms of being asked to", options_.patience.count()));
      continue;
    }
    if (now >= deadline) {
      late_output_given_ = false;
      return hypervisor::DeadlinePassed{};
    }
    const auto until = running_ && stop_deadline_ ? std::min(deadline, *stop_deadline_) : deadline;
    lock.unlock();
    std::array<pollfd, 2> fds{pollfd{cancel_.get(), POLLIN, 0}, pollfd{wake_.get(), POLLIN, 0}};
    const int polled = ::poll(fds.data(), fds.size(), poll_timeout(until));
    const int error = errno;
    lock.lock();
    if (polled < 0 && error != EINTR) lose(errno_error(error, "waiting for the guest"));
  }
}

}  // namespace panicroom::kvm
