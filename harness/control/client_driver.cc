#include "harness/control/client_driver.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <array>
#include <utility>

#include "harness/control/machine_operations.h"
#include "harness/control/words.h"
#include "harness/observer/stage_observer.h"
#include "harness/report/untrusted_text.h"
#include "harness/session/armed_machine.h"
#include "kernels/points/resolver.h"

namespace panicroom::control {
namespace {

using harness::AtIpi;
using v1::ControlError;
using v1::ControlRequest;

constexpr std::size_t kMaxSnapshotName = 32;
constexpr auto kDefaultTimeout = std::chrono::seconds(60);
constexpr auto kMinTimeout = std::chrono::seconds(1);
constexpr auto kMaxTimeout = std::chrono::minutes(10);

bool is_snapshot_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxSnapshotName &&
         std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

// Whether an operation looks at the machine or changes it, and so needs one that stands still.
bool needs_machine(ControlRequest::OperationCase operation) {
  switch (operation) {
    case ControlRequest::kAddBreakpoint:
    case ControlRequest::kRemoveBreakpoint:
    case ControlRequest::kReadRegisters:
    case ControlRequest::kWriteRegisters:
    case ControlRequest::kReadMemory:
    case ControlRequest::kWriteMemory:
    case ControlRequest::kSetHeld:
    case ControlRequest::kInject:
    case ControlRequest::kSetStopIpi:
    case ControlRequest::kTakeSnapshot:
    case ControlRequest::kStep:
      return true;
    default:
      return false;
  }
}

// Whether an operation is about the running kernel's code, or about what it goes on to do.
bool needs_first_kernel(ControlRequest::OperationCase operation) {
  return operation == ControlRequest::kAddBreakpoint || operation == ControlRequest::kInject ||
         operation == ControlRequest::kSetStopIpi || operation == ControlRequest::kTakeSnapshot;
}

}  // namespace

ControlError control_error(ControlError::Code code, std::string_view message) {
  ControlError error;
  error.set_code(code);
  error.set_message(harness::escape_untrusted(message));
  return error;
}

ControlError to_proto(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kInvalidInput:
      return control_error(ControlError::CODE_INVALID, error.message());
    case ErrorKind::kUnsupported:
      return control_error(ControlError::CODE_UNSUPPORTED, error.message());
    case ErrorKind::kHost:
    case ErrorKind::kCancelled:
      break;
  }
  return control_error(ControlError::CODE_HOST, error.message());
}

v1::ControlResponse error_response(std::uint64_t id, ControlError error) {
  v1::ControlResponse response;
  response.mutable_result()->set_id(id);
  *response.mutable_result()->mutable_error() = std::move(error);
  return response;
}

ClientDriver::ClientDriver(const ClientDriverSetup& setup)
    : setup_(setup),
      machine_(setup.machine),
      actions_(setup.machine, setup.kernel, setup.plan.panic, {}, setup.journal) {}

Result<> ClientDriver::disarm() {
  disarmed_ = true;
  for (auto& [number, breakpoint] : breakpoints_) TRY(harness::remove_breakpoints(machine_, breakpoint.armed));
  breakpoints_.clear();
  return actions_.disarm();
}

bool ClientDriver::crash_seen() const {
  static constexpr std::array<std::string_view, 4> kCrashing = {"panic-entered", "crash-kexec", "owner-elected",
                                                                "reset-begun"};
  return std::ranges::any_of(setup_.journal.run().stages(), [](const v1::Stage& stage) {
    return std::ranges::find(kCrashing, stage.name()) != kCrashing.end();
  });
}

Result<> ClientDriver::tell_stopped(std::uint32_t breakpoint, VcpuId vcpu) {
  state_ = State::kStopped;
  const auto registers = TRY(machine_.registers(vcpu));
  v1::ControlResponse response;
  auto& stopped = *response.mutable_event()->mutable_stopped();
  stopped.set_breakpoint(breakpoint);
  stopped.set_cpu(index(vcpu));
  stopped.set_rip(registers.rip);
  stopped.set_place(setup_.kernel.symbolise({registers.rip}).value_or(""));
  return setup_.respond(std::move(response));
}

Result<bool> ClientDriver::on_breakpoint(const hypervisor::BreakpointHit& hit, const hypervisor::Registers& registers) {
  if (TRY(actions_.on_breakpoint(hit, registers))) return true;
  for (const auto& [number, breakpoint] : breakpoints_) {
    if (!breakpoint.armed.contains(hit.id)) continue;
    if (harness::holds(breakpoint.condition, registers)) TRY(tell_stopped(number, hit.vcpu));
    return true;
  }
  return false;
}

// The observer's breakpoint at this place was reported first, and the client's will not be any more.
Result<> ClientDriver::on_jump(VcpuId vcpu, const hypervisor::Registers& registers) {
  for (const auto& [number, breakpoint] : breakpoints_) {
    const bool here = std::ranges::find(breakpoint.at, Gva{registers.rip}) != breakpoint.at.end() &&
                      (breakpoint.cpus.empty() || breakpoint.cpus.contains(vcpu));
    if (here && harness::holds(breakpoint.condition, registers)) TRY(tell_stopped(number, vcpu));
  }
  return disarm();
}

Result<> ClientDriver::on_ipi(const hypervisor::Ipi& ipi) {
  if (disarmed_) return {};
  TRY(actions_.on_ipi(ipi));
  for (const auto& [number, breakpoint] : breakpoints_) {
    if (!breakpoint.ipi || !harness::matches(*breakpoint.ipi, ipi)) continue;
    if (breakpoint.cpus.empty() || breakpoint.cpus.contains(ipi.source)) TRY(tell_stopped(number, ipi.source));
  }
  return {};
}

std::optional<hypervisor::Clock::time_point> ClientDriver::next_deadline() const { return actions_.next_deadline(); }

Result<> ClientDriver::on_time(hypervisor::Clock::time_point now) { return actions_.on_time(now); }

bool ClientDriver::waits_for_ipi() const {
  return actions_.waits_for_ipi() ||
         std::ranges::any_of(breakpoints_, [](const auto& entry) { return entry.second.ipi.has_value(); });
}

Result<bool> ClientDriver::before_resume() {
  if (stepping_) TRY(step_on());
  if (stepping_) return true;
  if (pending_) {
    state_ = State::kStopped;
    const auto request = *std::exchange(pending_, std::nullopt);
    TRY(serve(request));
  }
  while (state_ == State::kStopped && !restore_) {
    const auto request = setup_.requests.take();
    if (!request) return Error(ErrorKind::kCancelled, "the client is gone");
    TRY(serve(*request));
  }
  return !restore_;
}

Result<bool> ClientDriver::on_cancelled() {
  if (setup_.requests.closed()) return Error(ErrorKind::kCancelled, "the client is gone");
  while (state_ == State::kRunning && !pending_ && !restore_) {
    auto request = setup_.requests.try_take();
    if (!request) break;
    const auto operation = request->operation_case();
    if (operation == ControlRequest::kRestoreSnapshot) {
      auto refused = refusal(*request);
      if (!refused) refused = refuse_restore(request->restore_snapshot().name());
      if (refused) {
        // The machine goes on as if nothing had been asked.
        TRY(setup_.respond(error_response(request->id(), *std::move(refused))));
        continue;
      }
    }
    if (operation == ControlRequest::kPause || operation == ControlRequest::kRestoreSnapshot) {
      pending_ = std::move(request);
      return true;
    }
    TRY(serve(*request));
  }
  return false;
}

std::optional<ControlError> ClientDriver::refusal(const ControlRequest& request) const {
  const auto operation = request.operation_case();
  const auto precondition = [](std::string_view message) {
    return control_error(ControlError::CODE_PRECONDITION, message);
  };
  if (operation == ControlRequest::OPERATION_NOT_SET) {
    return control_error(ControlError::CODE_INVALID, "a request without an operation that this server knows");
  }
  if (operation == ControlRequest::kOpen) return precondition("the machine is open already");
  if (spent_ && (needs_machine(operation) || operation == ControlRequest::kRestoreSnapshot)) {
    return precondition("the machine has ended");
  }
  if (state_ == State::kRunning && needs_machine(operation)) {
    return precondition("the machine runs: it has to stand still for this");
  }
  if (state_ == State::kRunning && operation == ControlRequest::kResume)
    return precondition("the machine runs already");
  if (state_ == State::kOver && operation == ControlRequest::kResume) {
    return precondition("the outcome is decided: the machine goes on from a snapshot");
  }
  if (disarmed_ && needs_first_kernel(operation)) {
    return precondition("the kernel under test does not run any more");
  }
  return std::nullopt;
}

Result<> ClientDriver::serve(const ControlRequest& request) {
  if (auto refused = refusal(request)) return setup_.respond(error_response(request.id(), *std::move(refused)));
  if (request.has_restore_snapshot()) {
    if (auto refused = refuse_restore(request.restore_snapshot().name())) {
      return setup_.respond(error_response(request.id(), *std::move(refused)));
    }
    restore_ = request;
    return {};
  }
  if (request.has_await_outcome()) return await(request);
  v1::ControlResponse response;
  response.mutable_result()->set_id(request.id());
  auto performed = perform(request, *response.mutable_result());
  if (!performed) {
    if (performed.error().kind() == ErrorKind::kCancelled) return performed;
    *response.mutable_result()->mutable_error() = to_proto(performed.error());
  } else if (actions_.busy()) {
    stepping_ = request.id();
    state_ = State::kRunning;
    return {};
  }
  return setup_.respond(std::move(response));
}

Result<> ClientDriver::step_on() {
  auto stepped = actions_.go_on();
  if (stepped && actions_.busy()) return {};
  state_ = State::kStopped;
  v1::ControlResponse response;
  response.mutable_result()->set_id(*std::exchange(stepping_, std::nullopt));
  if (stepped) {
    response.mutable_result()->mutable_done();
  } else {
    *response.mutable_result()->mutable_error() = to_proto(stepped.error());
  }
  return setup_.respond(std::move(response));
}

Result<> ClientDriver::perform(const ControlRequest& request, v1::ControlResult& result) {
  const auto bound = [&](const char* what) {
    *result.mutable_error() = control_error(ControlError::CODE_EXHAUSTED, what);
    return Result<>();
  };
  switch (request.operation_case()) {
    case ControlRequest::kResume:
      TRY(go_on());
      break;
    case ControlRequest::kPause:
      break;
    case ControlRequest::kAddBreakpoint:
      if (breakpoints_.size() >= setup_.max_breakpoints) return bound("there are as many breakpoints as there can be");
      return add_breakpoint(request.add_breakpoint(), *result.mutable_breakpoint_added());
    case ControlRequest::kRemoveBreakpoint:
      TRY(remove_breakpoint(request.remove_breakpoint().breakpoint()));
      break;
    case ControlRequest::kReadRegisters:
      *result.mutable_registers() = TRY(read_registers(machine_, request.read_registers()));
      return {};
    case ControlRequest::kWriteRegisters:
      TRY(write_registers(machine_, request.write_registers()));
      setup_.journal.injected(VcpuId{request.write_registers().cpu()}, v1::Injected::WHAT_SET);
      break;
    case ControlRequest::kReadMemory:
      *result.mutable_memory() = TRY(read_memory(machine_, request.read_memory()));
      return {};
    case ControlRequest::kWriteMemory:
      TRY(write_memory(machine_, request.write_memory()));
      break;
    case ControlRequest::kLookUpSymbol:
      *result.mutable_symbol() = TRY(look_up_symbol(setup_.kernel, request.look_up_symbol()));
      return {};
    case ControlRequest::kSetHeld: {
      const auto vcpu = TRY(read_cpu(request.set_held().cpu(), machine_.vcpus()));
      if (machine_.held(vcpu) == request.set_held().held()) break;
      machine_.set_held(vcpu, request.set_held().held());
      setup_.journal.held(vcpu, request.set_held().held());
      break;
    }
    case ControlRequest::kInject:
      TRY(inject(request.inject()));
      break;
    case ControlRequest::kSetStopIpi: {
      auto rules = TRY(read_stop_ipi(request.set_stop_ipi().rules(), machine_.vcpus()));
      if (!rules.empty() && !machine_.can(hypervisor::Capability::kIpiPolicy)) {
        return unsupported("the engine {} has no policy for IPIs", machine_.engine());
      }
      setup_.scenario.stop_ipi = std::move(rules);
      new_ipi_rules_ = true;
      break;
    }
    case ControlRequest::kTakeSnapshot:
      if (setup_.snapshots.size() >= setup_.max_snapshots) return bound("there are as many snapshots as there can be");
      TRY(take_snapshot(request.take_snapshot().name()));
      break;
    case ControlRequest::kStep: {
      const auto vcpu = TRY(read_cpu(request.step().cpu(), machine_.vcpus()));
      const auto count = std::max(request.step().count(), 1u);
      if (count > setup_.max_steps) return bound("more instructions than one request may execute");
      harness::Step step;
      step.cpu = vcpu;
      step.action = harness::DoStep{.count = count};
      TRY(actions_.perform(step, {}, {}));
      break;
    }
    default:
      return invalid_input("this is no operation of a machine");
  }
  result.mutable_done();
  return {};
}

Result<> ClientDriver::go_on() {
  bool anybody = false;
  for (std::uint32_t cpu = 0; cpu < machine_.vcpus(); ++cpu) anybody |= !machine_.held(VcpuId{cpu});
  if (!anybody) return invalid_input("every CPU is held: nobody could go on");
  state_ = State::kRunning;
  return {};
}

Result<> ClientDriver::add_breakpoint(const v1::AddBreakpointOperation& operation, v1::AddBreakpointResult& result) {
  Breakpoint breakpoint;
  for (const auto cpu : operation.cpus()) breakpoint.cpus.insert(TRY(read_cpu(cpu, machine_.vcpus())));
  auto& at = breakpoint.at;
  switch (operation.where_case()) {
    case v1::AddBreakpointOperation::kPoint: {
      const auto place = TRY(read_point(operation.point()));
      if (std::holds_alternative<harness::AtWorkload>(place) && breakpoint.cpus.size() != 1) {
        return invalid_input("each CPU's workload has a place of its own: name exactly one CPU");
      }
      if (const auto* ipi = std::get_if<AtIpi>(&place)) {
        if (!machine_.can(hypervisor::Capability::kIpiPolicy)) {
          return unsupported("the engine {} does not report IPIs", machine_.engine());
        }
        breakpoint.ipi = *ipi;
        break;
      }
      const auto cpu = breakpoint.cpus.empty() ? VcpuId{0} : *breakpoint.cpus.begin();
      const auto planned = TRY(harness::plan_at(setup_.scenario.workload, setup_.kernel.image(), cpu, place));
      breakpoint.condition = planned.condition;
      for (const auto address : planned.at) at.push_back(setup_.kernel.running(address));
      break;
    }
    case v1::AddBreakpointOperation::kAddress:
      at.push_back(Gva{operation.address()});
      break;
    case v1::AddBreakpointOperation::WHERE_NOT_SET:
      return invalid_input("there is neither a point nor an address");
  }
  for (const Gva address : at) {
    auto armed = machine_.add_breakpoint(address, breakpoint.cpus);
    if (!armed) {
      TRY(harness::remove_breakpoints(machine_, breakpoint.armed));
      return armed.error();
    }
    breakpoint.armed.insert(*armed);
    result.add_addresses(address.value);
  }
  const auto number = ++setup_.last_breakpoint;
  result.set_breakpoint(number);
  breakpoints_.emplace(number, std::move(breakpoint));
  return {};
}

Result<> ClientDriver::remove_breakpoint(std::uint32_t number) {
  const auto found = breakpoints_.find(number);
  if (found == breakpoints_.end()) return invalid_input("there is no breakpoint {}", number);
  TRY(harness::remove_breakpoints(machine_, found->second.armed));
  breakpoints_.erase(found);
  return {};
}

Result<> ClientDriver::inject(const v1::InjectOperation& operation) {
  const auto step = TRY(read_injection(operation, machine_.vcpus()));
  LinkAddress pause_loop{};
  harness::PlannedPlace until;
  if (const auto* spin = std::get_if<harness::DoSpin>(&step.action)) {
    pause_loop = TRY(kernels::pause_loop(setup_.kernel.image()));
    if (spin->until) {
      until = TRY(harness::plan_at(setup_.scenario.workload, setup_.kernel.image(), step.cpu, *spin->until));
    }
  }
  if (std::holds_alternative<harness::DoMce>(step.action) && !machine_.can(hypervisor::Capability::kMce)) {
    return unsupported("the engine {} has no machine checks", machine_.engine());
  }
  return actions_.perform(step, pause_loop, until);
}

Result<> ClientDriver::take_snapshot(const std::string& name) {
  if (!is_snapshot_name(name)) {
    return invalid_input("a snapshot's name is of 1 to {} lower-case letters, digits and '-'", kMaxSnapshotName);
  }
  if (name == harness::ArmedMachine::kArmedSnapshot || setup_.snapshots.contains(name)) {
    return invalid_input("there is a snapshot {} already", name);
  }
  if (crash_seen()) return invalid_input("the crash has begun: what was seen of it cannot be taken back");
  if (!actions_.settled()) return invalid_input("a CPU spins, and would do so for ever behind the snapshot");
  if (!machine_.can(hypervisor::Capability::kSnapshot)) return unsupported("the engine has no snapshots");
  TRY(machine_.snapshot(name));
  setup_.snapshots.insert(name);
  return {};
}

std::optional<ControlError> ClientDriver::refuse_restore(const std::string& name) const {
  if (name.empty() || name == harness::ArmedMachine::kArmedSnapshot || setup_.snapshots.contains(name)) {
    return std::nullopt;
  }
  return control_error(ControlError::CODE_INVALID, "there is no snapshot of that name");
}

Result<> ClientDriver::await(const ControlRequest& request) {
  if (state_ == State::kOver) return answer_outcome(request.id());
  const auto refuse = [&](ControlError::Code code, const char* message) {
    return setup_.respond(error_response(request.id(), control_error(code, message)));
  };
  if (awaiting_) return refuse(ControlError::CODE_PRECONDITION, "the outcome is being awaited already");
  harness::Nanoseconds timeout = kDefaultTimeout;
  if (request.await_outcome().has_timeout()) {
    const auto& asked = request.await_outcome().timeout();
    // Before anything is multiplied: a duration of protobuf's holds more seconds than there are nanoseconds.
    const auto seconds = std::clamp<std::int64_t>(asked.seconds(), -1, std::chrono::seconds(kMaxTimeout).count() + 1);
    timeout = std::chrono::seconds(seconds) + std::chrono::nanoseconds(asked.nanos());
    if (timeout < kMinTimeout || timeout > kMaxTimeout) {
      return refuse(ControlError::CODE_INVALID, "a timeout goes from 1 s to 10 min");
    }
  }
  if (state_ == State::kStopped) {
    if (const auto gone_on = go_on(); !gone_on) {
      return setup_.respond(error_response(request.id(), to_proto(gone_on.error())));
    }
  }
  if (!timeout_) timeout_ = timeout;
  awaiting_ = request.id();
  return {};
}

Result<> ClientDriver::answer_outcome(std::uint64_t id) {
  if (setup_.journal.run().outcome() == v1::OUTCOME_UNSPECIFIED) {
    return setup_.respond(
        error_response(id, control_error(ControlError::CODE_PRECONDITION, "the trial has ended without an outcome")));
  }
  v1::ControlResponse response;
  response.mutable_result()->set_id(id);
  auto& run = *response.mutable_result()->mutable_decided()->mutable_run();
  run = setup_.journal.run();
  run.clear_ipis();
  run.clear_steps();
  return setup_.respond(std::move(response));
}

Result<ControlRequest> ClientDriver::after_trial(bool spent) {
  state_ = State::kOver;
  spent_ = spent;
  if (stepping_) {
    TRY(setup_.respond(
        error_response(*std::exchange(stepping_, std::nullopt),
                       control_error(ControlError::CODE_PRECONDITION, "the trial ended before the last step"))));
  }
  if (awaiting_) {
    if (restore_) {
      TRY(setup_.respond(error_response(
          *awaiting_, control_error(ControlError::CODE_PRECONDITION, "the machine goes back to a snapshot"))));
    } else {
      TRY(answer_outcome(*awaiting_));
    }
    awaiting_.reset();
  }
  if (pending_) {
    const auto request = *std::exchange(pending_, std::nullopt);
    TRY(serve(request));
  }
  while (!restore_) {
    const auto request = setup_.requests.take();
    if (!request) return Error(ErrorKind::kCancelled, "the client is gone");
    TRY(serve(*request));
  }
  return *std::exchange(restore_, std::nullopt);
}

}  // namespace panicroom::control
