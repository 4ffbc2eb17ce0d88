#include "harness/director/trial_started.h"

#include <google/protobuf/util/time_util.h>

namespace panicroom::harness {

v1::Event trial_started(const TrialSetup& setup) {
  using google::protobuf::util::TimeUtil;
  const Scenario& scenario = setup.scenario;
  v1::Event event;
  auto& trial = *event.mutable_trial_started();
  *trial.mutable_run() = setup.journal.run();
  for (const Step& step : scenario.timeline) {
    auto& entry = *trial.mutable_run()->add_steps();
    entry.set_number(step.number);
    entry.set_text(step.text);
    entry.set_cpu(static_cast<std::int32_t>(index(step.cpu)));
  }
  trial.set_summary(scenario.summary);
  for (const auto& ref : scenario.refs) trial.add_refs(ref);
  trial.set_vcpus(setup.machine.vcpus());
  trial.set_memory_bytes(scenario.machine.memory_bytes);
  trial.set_crashkernel_bytes(scenario.machine.crashkernel_bytes);
  for (const auto& workload : scenario.workload) trial.add_workload(workload);
  trial.set_kernel_cmdline(scenario.kernel_cmdline);
  *trial.mutable_timeout() = TimeUtil::NanosecondsToDuration(setup.pace.allow(scenario.timeout).count());
  return event;
}

}  // namespace panicroom::harness
