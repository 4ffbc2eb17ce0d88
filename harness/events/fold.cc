#include "harness/events/fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace panicroom::harness {
namespace {

using v1::Event;

std::int32_t cpu_of(const Event& event) { return event.has_cpu() ? static_cast<std::int32_t>(event.cpu()) : -1; }

std::string stage_note(const Event& event) {
  switch (event.what_case()) {
    case Event::kStage:
      return event.stage().note();
    case Event::kInjected:
      switch (event.injected().what()) {
        case v1::Injected::WHAT_PANIC:
          return "panic";
        case v1::Injected::WHAT_OOPS:
          return "oops";
        case v1::Injected::WHAT_NMI:
          return "nmi";
        case v1::Injected::WHAT_MCE:
          return "mce";
        default:
          return {};
      }
    case Event::kStopped:
      return event.stopped().has_by() ? fmt::format("sent by CPU {}", event.stopped().by()) : "";
    default:
      return {};
  }
}

void add_stage(const Event& event, v1::Run& run) {
  const auto name = stage_name(event);
  if (name.empty() || has_stage(run, name, cpu_of(event))) return;
  auto& stage = *run.add_stages();
  stage.set_name(name);
  stage.set_cpu(cpu_of(event));
  stage.set_note(stage_note(event));
  *stage.mutable_at() = event.at();
}

v1::Step* find_step(v1::Run& run, std::uint32_t number) {
  const auto step =
      std::ranges::find_if(*run.mutable_steps(), [&](const v1::Step& entry) { return entry.number() == number; });
  return step == run.mutable_steps()->end() ? nullptr : &*step;
}

void add_wait(const Event& event, v1::Run& run) {
  const auto& armed = event.step_armed();
  auto* step = find_step(run, armed.number());
  if (step != nullptr && armed.has_wait()) *step->mutable_wait() = armed.wait();
}

void add_step(const Event& event, v1::Run& run) {
  const auto& happened = event.step_happened();
  auto* step = find_step(run, happened.number());
  if (step == nullptr) return;
  step->set_happened(true);
  step->set_rip(happened.rip());
  step->set_place(happened.place());
  *step->mutable_at() = event.at();
}

void add_ipi(const Event& event, v1::Run& run) {
  if (run.ipis_size() >= kMaxIpis) {
    run.set_ipis_left_out(run.ipis_left_out() + 1);
    return;
  }
  auto& ipi = *run.add_ipis();
  ipi.set_unwatched(event.ipi().has_unwatched_at());
  *ipi.mutable_at() = ipi.unwatched() ? event.ipi().unwatched_at() : event.at();
  ipi.set_source(event.cpu());
  ipi.set_vector(event.ipi().vector());
  ipi.set_sent_as(event.ipi().sent_as());
  for (const auto& target : event.ipi().targets()) {
    ipi.add_targets(target.cpu());
    ipi.add_delivered_as(target.delivered_as());
  }
}

}  // namespace

std::string stage_name(const Event& event) {
  if (event.has_stage()) return event.stage().name();
  if (event.has_injected()) return stage_note(event).empty() ? "" : "injected";
  if (!event.has_stopped()) return {};
  switch (event.stopped().how()) {
    case v1::Stopped::HOW_CRASH_NMI:
      return "stopped-by-crash-nmi";
    case v1::Stopped::HOW_NMI:
      return "stopped-by-nmi";
    case v1::Stopped::HOW_IRQ:
      return "stopped-by-irq";
    case v1::Stopped::HOW_ITSELF:
      return "stopped-itself";
    default:
      return {};
  }
}

bool has_stage(const v1::Run& run, const std::string& name, std::int32_t cpu) {
  return std::ranges::any_of(run.stages(),
                             [&](const v1::Stage& stage) { return stage.cpu() == cpu && stage.name() == name; });
}

void apply(const Event& event, v1::Run& run) {
  switch (event.what_case()) {
    case Event::kTrialStarted:
      run = event.trial_started().run();
      break;
    case Event::kStage:
    case Event::kInjected:
    case Event::kStopped:
      add_stage(event, run);
      break;
    case Event::kStepArmed:
      add_wait(event, run);
      break;
    case Event::kStepHappened:
      add_step(event, run);
      break;
    case Event::kIpi:
      add_ipi(event, run);
      break;
    case Event::kIpisLeftOut:
      run.set_ipis_left_out(run.ipis_left_out() + event.ipis_left_out().count());
      break;
    case Event::kPlaces:
      if (event.places().final()) *run.mutable_places() = event.places().cpus();
      break;
    case Event::kDumpJudged:
      *run.mutable_dump() = event.dump_judged().dump();
      break;
    case Event::kPanicMessage:
      *run.mutable_panic_message() = event.panic_message();
      break;
    case Event::kOutcome:
      run.set_outcome(event.outcome().outcome());
      run.set_detail(event.outcome().detail());
      break;
    case Event::kVerdict:
      run.set_verdict(event.verdict().verdict());
      run.set_expected_outcome(event.verdict().expected_outcome());
      run.set_detail(event.verdict().detail());
      break;
    default:
      break;
  }
}

}  // namespace panicroom::harness
