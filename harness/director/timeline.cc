#include "harness/director/timeline.h"

#include <algorithm>
#include <cstring>

#include "harness/observer/stage_observer.h"

namespace panicroom::harness {

using hypervisor::BreakpointHit;
using hypervisor::BreakpointId;
using hypervisor::Clock;
using hypervisor::DeliveryMode;
using hypervisor::Ipi;
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

Timeline::Timeline(hypervisor::Machine& machine, const Scenario& scenario, const Plan& plan,
                   const RunningKernel& kernel, std::span<const Gpa> start_pages, Journal& journal)
    : machine_(machine),
      scenario_(scenario),
      plan_(plan),
      kernel_(kernel),
      start_pages_(start_pages),
      journal_(journal) {}

Result<> Timeline::begin() { return arm_next(); }

Result<> Timeline::remove(std::set<BreakpointId>& breakpoints) {
  for (const BreakpointId id : breakpoints) TRY(machine_.remove_breakpoint(id));
  breakpoints.clear();
  return {};
}

Result<> Timeline::disarm() {
  disarmed_ = true;
  TRY(remove(armed_));
  for (Window& window : windows_) {
    TRY(remove(window.until));
    if (window.at_loop) TRY(machine_.remove_breakpoint(*window.at_loop));
    window.at_loop.reset();
  }
  return {};
}

Result<> Timeline::arm_next() {
  while (next_ < scenario_.timeline.size()) {
    const Step& step = scenario_.timeline[next_];
    passes_ = 0;
    if (step.alone) {
      held_before_alone_.emplace();
      for (std::uint32_t cpu = 0; cpu < machine_.vcpus(); ++cpu) {
        held_before_alone_->push_back(machine_.held(VcpuId{cpu}));
        if (VcpuId{cpu} != step.cpu) machine_.set_held(VcpuId{cpu}, true);
      }
    }
    for (const LinkAddress at : plan_.steps[next_].at) {
      armed_.insert(TRY(machine_.add_breakpoint(kernel_.running(at), {step.cpu})));
    }
    if (!std::holds_alternative<Here>(step.at)) {
      auto event = event_on(step.cpu);
      event.mutable_step_armed()->set_number(step.number);
      event.mutable_step_armed()->set_alone(step.alone);
      journal_.add(std::move(event));
      return {};
    }
    TRY(happen());
  }
  return {};
}

Result<bool> Timeline::on_breakpoint(const BreakpointHit& hit, const Registers& registers) {
  if (armed_.contains(hit.id)) {
    if (!holds(plan_.steps[next_].condition, registers)) return true;
    if (++passes_ < scenario_.timeline[next_].hit) return true;
    TRY(happen());
    TRY(arm_next());
    return true;
  }
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

Result<> Timeline::on_ipi(const Ipi& ipi) {
  if (disarmed_) return {};
  for (Window& window : windows_) {
    if (window.until_ipi && !window.closed && !window.at_loop && matches(*window.until_ipi, ipi)) {
      TRY(begin_closing(window));
    }
  }
  if (all_steps_happened()) return {};
  const Step& step = scenario_.timeline[next_];
  const auto* event = std::get_if<AtIpi>(&step.at);
  if (event == nullptr || ipi.source != step.cpu || !matches(*event, ipi)) return {};
  if (++passes_ < step.hit) return {};
  TRY(happen());
  return arm_next();
}

std::optional<Clock::time_point> Timeline::next_deadline() const {
  std::optional<Clock::time_point> soonest;
  if (disarmed_) return soonest;
  for (const Window& window : windows_) {
    if (window.ends_at && !window.closed && !window.at_loop && (!soonest || *window.ends_at < *soonest)) {
      soonest = window.ends_at;
    }
  }
  return soonest;
}

Result<> Timeline::on_time(Clock::time_point now) {
  if (disarmed_) return {};
  for (Window& window : windows_) {
    if (window.ends_at && !window.closed && !window.at_loop && *window.ends_at <= now) TRY(begin_closing(window));
  }
  return {};
}

bool Timeline::complete() const {
  return all_steps_happened() && std::ranges::all_of(windows_, [](const Window& window) { return window.closed; });
}

bool Timeline::waits_for_ipi() const {
  if (disarmed_) return false;
  if (!all_steps_happened() && std::holds_alternative<AtIpi>(scenario_.timeline[next_].at)) return true;
  return std::ranges::any_of(windows_, [](const Window& window) { return window.until_ipi && !window.closed; });
}

Result<> Timeline::happen() {
  const Step& step = scenario_.timeline[next_];
  const std::string context =
      fmt::format("{}:{}: step {} ({})", scenario_.file.native(), step.line, step.number, step.text);
  const auto registers = TRY_CONTEXT(context, machine_.registers(step.cpu));
  auto event = event_on(step.cpu);
  auto& happened = *event.mutable_step_happened();
  happened.set_number(step.number);
  happened.set_rip(registers.rip);
  happened.set_place(kernel_.symbolise({registers.rip}).value_or(fmt::format("{:#x}", registers.rip)));
  journal_.add(std::move(event));

  TRY(remove(armed_));
  if (held_before_alone_) {
    for (std::uint32_t cpu = 0; cpu < machine_.vcpus(); ++cpu) {
      machine_.set_held(VcpuId{cpu}, (*held_before_alone_)[cpu]);
    }
    held_before_alone_.reset();
  }
  const std::size_t number = next_++;
  TRY_CONTEXT(context, perform(step, number));
  return {};
}

Result<> Timeline::perform(const Step& step, std::size_t number) {
  struct Performer {
    Timeline& timeline;
    const Step& step;
    std::size_t number;

    Result<> operator()(const DoPanic& action) {
      timeline.journal_.injected(step.cpu, v1::Injected::WHAT_PANIC, action.message);
      return inject_panic(timeline.machine_, step.cpu, timeline.kernel_.running(timeline.plan_.panic), action.message);
    }
    Result<> operator()(const DoOops&) {
      timeline.journal_.injected(step.cpu, v1::Injected::WHAT_OOPS);
      return inject_oops(timeline.machine_, step.cpu);
    }
    Result<> operator()(const DoNmi&) {
      timeline.journal_.injected(step.cpu, v1::Injected::WHAT_NMI);
      return timeline.machine_.inject_nmi(step.cpu);
    }
    Result<> operator()(const DoMce& action) {
      timeline.journal_.injected(step.cpu, v1::Injected::WHAT_MCE, to_text(action.error));
      return timeline.machine_.inject_mce(step.cpu, action.error);
    }
    Result<> operator()(const DoSpin& action) { return timeline.open_window(step, number, action); }
    Result<> operator()(const DoHold&) {
      timeline.machine_.set_held(step.cpu, true);
      timeline.journal_.held(step.cpu, true);
      return {};
    }
    Result<> operator()(const DoRelease&) {
      timeline.machine_.set_held(step.cpu, false);
      timeline.journal_.held(step.cpu, false);
      return {};
    }
    Result<> operator()(const DoSet& action) {
      timeline.journal_.injected(step.cpu, v1::Injected::WHAT_SET);
      return timeline.set_values(step, action);
    }
    Result<> operator()(const DoSkip&) {
      timeline.journal_.injected(step.cpu, v1::Injected::WHAT_SKIP);
      return skip_instruction(timeline.machine_, step.cpu);
    }
    Result<> operator()(const DoNote&) { return {}; }
    Result<> operator()(const DoStart& action) { return timeline.start(step, action); }
    Result<> operator()(const DoStep& action) {
      timeline.journal_.injected(step.cpu, v1::Injected::WHAT_STEP, fmt::format("{}", action.count));
      for (std::uint32_t i = 0; i < action.count; ++i) TRY(timeline.machine_.step(step.cpu));
      return {};
    }
  };
  return std::visit(Performer{*this, step, number}, step.action);
}

Result<> Timeline::open_window(const Step& step, std::size_t number, const DoSpin& action) {
  const auto before = TRY(machine_.registers(step.cpu));
  const auto interrupts = action.irqs_off ? SpinWindow::Interrupts::kOff : SpinWindow::Interrupts::kAsTheyAre;
  Window window{
      TRY(SpinWindow::open(machine_, step.cpu, kernel_.running(plan_.pause_loop), interrupts)), {}, {}, {}, {}, {}, {}};
  if (action.for_time) window.ends_at = Clock::now() + *action.for_time;
  if (action.until) {
    if (const auto* ipi = std::get_if<AtIpi>(&*action.until)) window.until_ipi = *ipi;
    window.until_condition = plan_.untils[number].condition;
    for (const LinkAddress at : plan_.untils[number].at) {
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

Result<> Timeline::begin_closing(Window& window) {
  TRY(remove(window.until));
  // The CPU may be in an NMI handler just now; only in the loop itself are its registers the window's.
  window.at_loop = TRY(machine_.add_breakpoint(window.spin.loop(), {window.spin.vcpu()}));
  return {};
}

Result<> Timeline::start(const Step& step, const DoStart& action) {
  if (started_ >= start_pages_.size()) return host_error("the agent told of {} start pages only", start_pages_.size());
  const std::uint32_t number = started_++;
  journal_.injected(step.cpu, v1::Injected::WHAT_START, action.workload);
  return start_workload(machine_, step.cpu, start_pages_[number], number);
}

Result<> Timeline::set_values(const Step& step, const DoSet& action) {
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
