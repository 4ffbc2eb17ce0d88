#include "harness/observer/journal.h"

#include <google/protobuf/util/time_util.h>

namespace panicroom::harness {
namespace {

// A guest that does nothing but send IPIs must not fill the host's memory.
constexpr int kMaxIpis = 10'000;

}  // namespace

bool Journal::stage(std::string_view name, std::optional<VcpuId> cpu, std::string_view note) {
  const std::int32_t number = cpu ? static_cast<std::int32_t>(index(*cpu)) : -1;
  for (const auto& stage : run_.stages()) {
    if (stage.name() == name && stage.cpu() == number) return false;
  }
  auto& stage = *run_.add_stages();
  stage.set_name(std::string(name));
  stage.set_cpu(number);
  stage.set_note(std::string(note));
  stamp(*stage.mutable_at());
  if (on_stage_) on_stage_(name);
  return true;
}

void Journal::ipi(const hypervisor::Ipi& ipi) {
  if (run_.ipis_size() >= kMaxIpis) return;
  auto& entry = *run_.add_ipis();
  stamp(*entry.mutable_at());
  entry.set_source(index(ipi.source));
  entry.set_vector(ipi.vector);
  entry.set_sent_as(std::string(hypervisor::name(ipi.sent_as)));
  for (const VcpuId target : ipi.targets) entry.add_targets(index(target));
  for (const auto& delivered : ipi.delivered_as) {
    entry.add_delivered_as(std::string(delivered ? hypervisor::name(*delivered) : "dropped"));
  }
}

std::string Journal::last_sender(VcpuId target, bool nmi) const {
  for (int number = run_.ipis_size() - 1; number >= 0; --number) {
    const auto& ipi = run_.ipis(number);
    for (int i = 0; i < ipi.targets_size(); ++i) {
      if (ipi.targets(i) != index(target)) continue;
      const bool as_nmi = ipi.delivered_as(i) == hypervisor::name(hypervisor::DeliveryMode::kNmi);
      const bool as_stop_irq = ipi.delivered_as(i) == hypervisor::name(hypervisor::DeliveryMode::kFixed) &&
                               ipi.vector() == hypervisor::kRebootVector;
      if (nmi ? !as_nmi : !as_stop_irq) continue;
      return fmt::format("sent by CPU {}", ipi.source());
    }
  }
  return {};
}

void Journal::stamp(google::protobuf::Duration& to) const {
  const auto elapsed = hypervisor::Clock::now() - start_;
  to = google::protobuf::util::TimeUtil::NanosecondsToDuration(
      std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count());
}

}  // namespace panicroom::harness
