#include "harness/director/timeline.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "harness/observer/stage_observer.h"

namespace panicroom::harness {

using google::protobuf::util::TimeUtil;
using hypervisor::BreakpointHit;
using hypervisor::Clock;
using hypervisor::Ipi;
using hypervisor::Registers;

namespace {

bool outlives_the_kernel(const Step& step) {
  return step.after && (std::holds_alternative<DoNmi>(step.action) || std::holds_alternative<DoMce>(step.action) ||
                        std::holds_alternative<DoNote>(step.action));
}

}  // namespace

Timeline::Timeline(hypervisor::Machine& machine, const Scenario& scenario, const Plan& plan,
                   const RunningKernel& kernel, std::span<const Gpa> start_pages, Journal& journal)
    : machine_(machine),
      scenario_(scenario),
      plan_(plan),
      kernel_(kernel),
      journal_(journal),
      actions_(machine, kernel, plan.panic, start_pages, journal) {}

Result<> Timeline::begin() { return arm_next(); }

Result<> Timeline::on_jump(VcpuId vcpu, const Registers& registers) {
  // The observer's breakpoint at this place was reported first, and those of the steps will not be any more.
  const bool waits_here = !all_steps_happened() && scenario_.timeline[next_].cpu == vcpu &&
                          std::ranges::any_of(plan_.steps[next_].at, [&](LinkAddress at) {
                            return kernel_.running(at).value == registers.rip;
                          });
  if (waits_here && holds(plan_.steps[next_].condition, registers)) TRY(come_by());
  return disarm();
}

Result<> Timeline::disarm() {
  disarmed_ = true;
  if (due_ && !outlives_the_kernel(scenario_.timeline[next_])) due_.reset();
  TRY(remove_breakpoints(machine_, armed_));
  return actions_.disarm();
}

Result<> Timeline::arm_next() {
  while (next_ < scenario_.timeline.size() && !actions_.busy()) {
    const Step& step = scenario_.timeline[next_];
    if (disarmed_ && !outlives_the_kernel(step)) return {};
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
    if (!std::holds_alternative<Here>(step.at) || step.after) {
      auto event = event_on(step.cpu);
      event.mutable_step_armed()->set_number(step.number);
      event.mutable_step_armed()->set_alone(step.alone);
      if (step.after) {
        const Nanoseconds wait(
            std::uniform_int_distribution(step.after->least.count(), step.after->most.count())(random_));
        due_ = Clock::now() + wait;
        *event.mutable_step_armed()->mutable_wait() = TimeUtil::NanosecondsToDuration(wait.count());
      }
      journal_.add(std::move(event));
      return {};
    }
    TRY(happen());
  }
  return {};
}

Result<bool> Timeline::on_breakpoint(const BreakpointHit& hit, const Registers& registers) {
  if (armed_.contains(hit.id)) {
    if (holds(plan_.steps[next_].condition, registers)) TRY(come_by());
    return true;
  }
  return actions_.on_breakpoint(hit, registers);
}

Result<> Timeline::on_ipi(const Ipi& ipi) {
  if (disarmed_) return {};
  TRY(actions_.on_ipi(ipi));
  if (all_steps_happened()) return {};
  const Step& step = scenario_.timeline[next_];
  const auto* event = std::get_if<AtIpi>(&step.at);
  if (event == nullptr || ipi.source != step.cpu || !matches(*event, ipi)) return {};
  return come_by();
}

Result<> Timeline::come_by() {
  if (++passes_ < scenario_.timeline[next_].hit) return {};
  TRY(happen());
  return arm_next();
}

std::optional<Clock::time_point> Timeline::next_deadline() const {
  const auto window = actions_.next_deadline();
  return window && due_ ? std::min(*window, *due_) : window ? window : due_;
}

Result<> Timeline::on_time(Clock::time_point now) {
  TRY(actions_.on_time(now));
  if (!due_ || *due_ > now) return {};
  due_.reset();
  TRY(happen());
  return arm_next();
}

Result<bool> Timeline::before_resume() {
  if (!actions_.busy()) return true;
  TRY(actions_.go_on());
  if (!actions_.busy()) TRY(arm_next());
  return true;
}

bool Timeline::complete() const { return all_steps_happened() && actions_.settled(); }

bool Timeline::waits_for_ipi() const {
  if (disarmed_) return false;
  if (!all_steps_happened() && std::holds_alternative<AtIpi>(scenario_.timeline[next_].at)) return true;
  return actions_.waits_for_ipi();
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
  const auto symbol = disarmed_ ? std::nullopt : kernel_.symbolise({registers.rip});
  happened.set_place(symbol.value_or(fmt::format("{:#x}", registers.rip)));
  journal_.add(std::move(event));

  TRY(remove_breakpoints(machine_, armed_));
  if (held_before_alone_) {
    for (std::uint32_t cpu = 0; cpu < machine_.vcpus(); ++cpu) {
      machine_.set_held(VcpuId{cpu}, (*held_before_alone_)[cpu]);
    }
    held_before_alone_.reset();
  }
  const std::size_t number = next_++;
  TRY_CONTEXT(context, actions_.perform(step, plan_.pause_loop, plan_.untils[number]));
  return {};
}

}  // namespace panicroom::harness
