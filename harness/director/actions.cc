#include "harness/director/actions.h"

#include <algorithm>

#include "harness/observer/stage_observer.h"

namespace panicroom::harness {

using hypervisor::BreakpointHit;
using hypervisor::BreakpointId;
using hypervisor::Clock;
using hypervisor::DeliveryMode;
using hypervisor::Ipi;
using hypervisor::Machine;
using hypervisor::Registers;

bool matches(const AtIpi& event, const Ipi& ipi) {
  const bool nmi = ipi.sent_as == DeliveryMode::kNmi;
  switch (event.kind) {
    case AtIpi::Kind::kNmi:
      return nmi;
    case AtIpi::Kind::kVector:
      return !nmi && ipi.vector == event.vector;
    case AtIpi::Kind::kStop:
      return nmi || ipi.vector == hypervisor::kRebootVector;
  }
  return false;
}

Actions::Actions(Machine& machine, const RunningKernel& kernel, LinkAddress panic, std::span<const Gpa> start_pages,
                 Journal& journal)
    : machine_(machine), kernel_(kernel), panic_(panic), start_pages_(start_pages), journal_(journal) {}

Result<> remove_breakpoints(Machine& machine, std::set<BreakpointId>& breakpoints) {
  for (const BreakpointId id : breakpoints) TRY(machine.remove_breakpoint(id));
  breakpoints.clear();
  return {};
}

Result<> Actions::disarm() {
  disarmed_ = true;
  steps_left_ = 0;
  for (Window& window : windows_) {
    TRY(remove_breakpoints(machine_, window.until));
    if (window.at_loop) TRY(machine_.remove_breakpoint(*window.at_loop));
    window.at_loop.reset();
  }
  return {};
}

Result<bool> Actions::on_breakpoint(const BreakpointHit& hit, const Registers& registers) {
  for (Window& window : windows_) {
    if (window.at_loop == hit.id) {
      if (!TRY(window.spin.close(machine_))) return true;
      TRY(machine_.remove_breakpoint(hit.id));
      window.at_loop.reset();
      window.closed = true;
      auto event = event_on(hit.vcpu);
      event.mutable_interrupts_restored();
      journal_.add(std::move(event));
      return true;
    }
    if (window.until.contains(hit.id)) {
      if (holds(window.until_condition, registers)) TRY(begin_closing(window));
      return true;
    }
  }
  return false;
}

Result<> Actions::on_ipi(const Ipi& ipi) {
  if (disarmed_) return {};
  for (Window& window : windows_) {
    if (window.until_ipi && !window.closed && !window.at_loop && matches(*window.until_ipi, ipi)) {
      TRY(begin_closing(window));
    }
  }
  return {};
}

std::optional<Clock::time_point> Actions::next_deadline() const {
  std::optional<Clock::time_point> soonest;
  if (disarmed_) return soonest;
  for (const Window& window : windows_) {
    if (window.ends_at && !window.closed && !window.at_loop && (!soonest || *window.ends_at < *soonest)) {
      soonest = window.ends_at;
    }
  }
  return soonest;
}

Result<> Actions::on_time(Clock::time_point now) {
  if (disarmed_) return {};
  for (Window& window : windows_) {
    if (window.ends_at && !window.closed && !window.at_loop && *window.ends_at <= now) TRY(begin_closing(window));
  }
  return {};
}

bool Actions::settled() const { return std::ranges::all_of(windows_, &Window::closed); }

bool Actions::waits_for_ipi() const {
  if (disarmed_) return false;
  return std::ranges::any_of(windows_, [](const Window& window) { return window.until_ipi && !window.closed; });
}

Result<> Actions::go_on() {
  for (; steps_left_ > 0; --steps_left_) {
    if (TRY(machine_.has_hit_to_report(stepping_))) return {};
    TRY(machine_.step(stepping_));
  }
  return {};
}

Result<> Actions::perform(const Step& step, LinkAddress pause_loop, const PlannedPlace& until) {
  // What could not be done is not told of as done: a client's mistake is no part of the trial.
  struct Performer {
    Actions& actions;
    const Step& step;
    LinkAddress pause_loop;
    const PlannedPlace& until;

    Result<> operator()(const DoPanic& action) {
      TRY(inject_panic(actions.machine_, step.cpu, actions.kernel_.running(actions.panic_), action.message));
      actions.journal_.injected(step.cpu, v1::Injected::WHAT_PANIC, action.message);
      return {};
    }
    Result<> operator()(const DoOops&) {
      TRY(inject_oops(actions.machine_, step.cpu));
      actions.journal_.injected(step.cpu, v1::Injected::WHAT_OOPS);
      return {};
    }
    Result<> operator()(const DoNmi&) {
      TRY(actions.machine_.inject_nmi(step.cpu));
      actions.journal_.injected(step.cpu, v1::Injected::WHAT_NMI);
      return {};
    }
    Result<> operator()(const DoMce& action) {
      TRY(actions.machine_.inject_mce(step.cpu, action.error));
      actions.journal_.injected(step.cpu, v1::Injected::WHAT_MCE, to_text(action.error));
      return {};
    }
    Result<> operator()(const DoSpin& action) { return actions.open_window(step, action, pause_loop, until); }
    Result<> operator()(const DoHold&) {
      actions.machine_.set_held(step.cpu, true);
      actions.journal_.held(step.cpu, true);
      return {};
    }
    Result<> operator()(const DoRelease&) {
      actions.machine_.set_held(step.cpu, false);
      actions.journal_.held(step.cpu, false);
      return {};
    }
    Result<> operator()(const DoSet& action) {
      TRY(actions.set_values(step, action));
      actions.journal_.injected(step.cpu, v1::Injected::WHAT_SET);
      return {};
    }
    Result<> operator()(const DoSkip&) {
      TRY(skip_instruction(actions.machine_, step.cpu));
      actions.journal_.injected(step.cpu, v1::Injected::WHAT_SKIP);
      return {};
    }
    Result<> operator()(const DoNote&) { return {}; }
    Result<> operator()(const DoStart& action) { return actions.start(step, action); }
    Result<> operator()(const DoStep& action) {
      actions.journal_.injected(step.cpu, v1::Injected::WHAT_STEP, fmt::format("{}", action.count));
      actions.stepping_ = step.cpu;
      actions.steps_left_ = action.count;
      return actions.go_on();
    }
  };
  return std::visit(Performer{*this, step, pause_loop, until}, step.action);
}

Result<> Actions::open_window(const Step& step, const DoSpin& action, LinkAddress pause_loop,
                              const PlannedPlace& until) {
  const auto before = TRY(machine_.registers(step.cpu));
  const auto interrupts = action.irqs_off ? SpinWindow::Interrupts::kOff : SpinWindow::Interrupts::kAsTheyAre;
  Window window{
      TRY(SpinWindow::open(machine_, step.cpu, kernel_.running(pause_loop), interrupts)), {}, {}, {}, {}, {}, {}};
  if (action.for_time) window.ends_at = Clock::now() + *action.for_time;
  if (action.until) {
    if (const auto* ipi = std::get_if<AtIpi>(&*action.until)) window.until_ipi = *ipi;
    window.until_condition = until.condition;
    for (const LinkAddress at : until.at) {
      window.until.insert(TRY(machine_.add_breakpoint(kernel_.running(at), {})));
    }
  }
  windows_.push_back(std::move(window));
  const auto place = kernel_.symbolise({before.rip}).value_or(fmt::format("{:#x}", before.rip));
  if (!action.irqs_off) {
    journal_.injected(step.cpu, v1::Injected::WHAT_SPIN, place);
    return {};
  }
  auto event = event_on(step.cpu);
  event.mutable_interrupts_off()->set_rip(before.rip);
  event.mutable_interrupts_off()->set_place(place);
  journal_.add(std::move(event));
  return {};
}

Result<> Actions::begin_closing(Window& window) {
  TRY(remove_breakpoints(machine_, window.until));
  // The CPU may be in an NMI handler just now; only in the loop itself are its registers the window's.
  window.at_loop = TRY(machine_.add_breakpoint(window.spin.loop(), {window.spin.vcpu()}));
  return {};
}

Result<> Actions::start(const Step& step, const DoStart& action) {
  if (started_ >= start_pages_.size()) return host_error("the agent told of {} start pages only", start_pages_.size());
  const std::uint32_t number = started_++;
  journal_.injected(step.cpu, v1::Injected::WHAT_START, action.workload);
  return start_workload(machine_, step.cpu, start_pages_[number], number);
}

Result<> Actions::set_values(const Step& step, const DoSet& action) {
  auto registers = TRY(machine_.registers(step.cpu));
  for (const auto& value : action.values) {
    if (const auto* gpr = std::get_if<SetRegister>(&value)) {
      hypervisor::set(registers, gpr->gpr, gpr->value);
    } else if (const auto* sum = std::get_if<AddToRegister>(&value)) {
      hypervisor::set(registers, sum->gpr, get(registers, sum->gpr) + sum->value);
    } else if (const auto* flag = std::get_if<SetFlag>(&value)) {
      registers.rflags = flag->value ? registers.rflags | flag->mask : registers.rflags & ~flag->mask;
    } else if (const auto* memory = std::get_if<SetMemory>(&value)) {
      Gva at{};
      if (const auto* symbol = std::get_if<std::string>(&memory->address)) {
        at = kernel_.running(TRY(kernel_.image().symbols().unique(*symbol)).address);
      } else {
        at = {std::get<std::uint64_t>(memory->address)};
      }
      TRY(machine_.write_memory(step.cpu, at, std::as_bytes(std::span(&memory->value, 1)).first(memory->size)));
    }
  }
  return machine_.set_registers(step.cpu, registers);
}

}  // namespace panicroom::harness
