#include "harness/observer/journal.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <utility>

#include "harness/events/fold.h"

namespace panicroom::harness {

namespace {

google::protobuf::Duration to_proto(hypervisor::Clock::duration duration) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(
      std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count());
}

v1::Event to_event(const hypervisor::Ipi& ipi) {
  auto event = event_on(ipi.source);
  auto& sent = *event.mutable_ipi();
  sent.set_vector(ipi.vector);
  sent.set_sent_as(std::string(hypervisor::name(ipi.sent_as)));
  for (std::size_t i = 0; i < ipi.targets.size(); ++i) {
    auto& target = *sent.add_targets();
    target.set_cpu(index(ipi.targets[i]));
    const auto delivered = i < ipi.delivered_as.size() ? ipi.delivered_as[i] : std::nullopt;
    target.set_delivered_as(std::string(delivered ? hypervisor::name(*delivered) : "dropped"));
  }
  return event;
}

}  // namespace

v1::Event event_on(VcpuId cpu) {
  v1::Event event;
  event.set_cpu(index(cpu));
  return event;
}

Journal::Journal(v1::Run& run, JournalSinks sinks)
    : run_(run),
      start_(hypervisor::Clock::now()),
      sinks_(std::move(sinks)),
      console_lines_([this](std::string_view line, std::uint64_t offset) {
        v1::Event event;
        event.mutable_console()->set_text(std::string(line));
        event.mutable_console()->set_offset(offset);
        add(std::move(event));
      }) {}

void Journal::add(v1::Event event) {
  event.set_sequence(++last_sequence_);
  *event.mutable_at() = to_proto(hypervisor::Clock::now() - start_);
  const auto stage = stage_name(event);
  const bool new_stage =
      !stage.empty() && !has_stage(run_, stage, event.has_cpu() ? static_cast<std::int32_t>(event.cpu()) : -1);
  apply(event, run_);
  if (sinks_.event) sinks_.event(event);
  if (new_stage && sinks_.stage) sinks_.stage(stage);
}

bool Journal::stage(std::string_view name, std::optional<VcpuId> cpu, std::string_view note) {
  if (has_stage(run_, std::string(name), cpu ? static_cast<std::int32_t>(index(*cpu)) : -1)) return false;
  v1::Event event;
  if (cpu) event.set_cpu(index(*cpu));
  event.mutable_stage()->set_name(std::string(name));
  event.mutable_stage()->set_note(std::string(note));
  add(std::move(event));
  return true;
}

void Journal::stopped(VcpuId cpu, v1::Stopped::How how) {
  auto event = event_on(cpu);
  auto& stopped = *event.mutable_stopped();
  stopped.set_how(how);
  if (has_stage(run_, stage_name(event), static_cast<std::int32_t>(index(cpu)))) return;
  if (how != v1::Stopped::HOW_ITSELF) {
    if (const auto by = last_sender(cpu, how != v1::Stopped::HOW_IRQ)) stopped.set_by(*by);
  }
  add(std::move(event));
}

void Journal::injected(VcpuId cpu, v1::Injected::What what, std::string_view text) {
  auto event = event_on(cpu);
  event.mutable_injected()->set_what(what);
  event.mutable_injected()->set_text(std::string(text));
  add(std::move(event));
}

void Journal::held(VcpuId cpu, bool held) {
  auto event = event_on(cpu);
  if (held) {
    event.mutable_held();
  } else {
    event.mutable_released();
  }
  add(std::move(event));
}

void Journal::ipi(const hypervisor::Ipi& ipi) { add(to_event(ipi)); }

void Journal::unwatched_ipis(const hypervisor::UnwatchedIpis& ipis) {
  ipis_left_out_ += ipis.lost;
  for (const auto& sent : ipis.sent) {
    if (unwatched_ipis_ == kMaxUnwatchedIpis) {
      ++ipis_left_out_;
      continue;
    }
    ++unwatched_ipis_;
    auto event = to_event(sent.ipi);
    *event.mutable_ipi()->mutable_unwatched_at() = to_proto(sent.at - start_);
    add(std::move(event));
  }
}

void Journal::agent(std::string_view text) {
  v1::Event event;
  event.mutable_agent()->set_text(std::string(text));
  add(std::move(event));
}

void Journal::outcome(v1::Outcome outcome, std::string detail) {
  console_lines_.finish();
  if (const auto left_out = std::exchange(ipis_left_out_, 0); left_out > 0) {
    v1::Event event;
    event.mutable_ipis_left_out()->set_count(left_out);
    add(std::move(event));
  }
  v1::Event event;
  event.mutable_outcome()->set_outcome(outcome);
  event.mutable_outcome()->set_detail(std::move(detail));
  add(std::move(event));
}

void Journal::verdict() {
  console_lines_.finish();
  v1::Event event;
  event.mutable_verdict()->set_verdict(run_.verdict());
  event.mutable_verdict()->set_expected_outcome(run_.expected_outcome());
  event.mutable_verdict()->set_detail(run_.detail());
  add(std::move(event));
}

std::optional<std::uint32_t> Journal::last_sender(VcpuId target, bool nmi) const {
  for (int number = run_.ipis_size() - 1; number >= 0; --number) {
    const auto& ipi = run_.ipis(number);
    for (int i = 0; i < ipi.targets_size(); ++i) {
      if (ipi.targets(i) != index(target)) continue;
      const bool as_nmi = ipi.delivered_as(i) == hypervisor::name(hypervisor::DeliveryMode::kNmi);
      const bool as_stop_irq = ipi.delivered_as(i) == hypervisor::name(hypervisor::DeliveryMode::kFixed) &&
                               ipi.vector() == hypervisor::kRebootVector;
      if (nmi ? as_nmi : as_stop_irq) return ipi.source();
    }
  }
  return std::nullopt;
}

}  // namespace panicroom::harness
