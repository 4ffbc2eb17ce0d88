#include "harness/report/sample_report.h"

namespace panicroom::harness::sample {
namespace {

google::protobuf::Duration milliseconds(std::int64_t count) {
  google::protobuf::Duration duration;
  duration.set_seconds(count / 1000);
  duration.set_nanos(static_cast<std::int32_t>(count % 1000 * 1'000'000));
  return duration;
}

void add_step(v1::Run& run, const std::string& text, std::int64_t at, std::int32_t cpu, std::uint64_t rip,
              const std::string& place) {
  auto& step = *run.add_steps();
  step.set_number(static_cast<std::uint32_t>(run.steps_size()));
  step.set_text(text);
  step.set_cpu(cpu);
  if (at == 0) return;
  step.set_happened(true);
  *step.mutable_at() = milliseconds(at);
  step.set_rip(rip);
  step.set_place(place);
}

void add_stage(v1::Run& run, const std::string& name, std::int32_t cpu, std::int64_t at, const std::string& note) {
  auto& stage = *run.add_stages();
  stage.set_name(name);
  stage.set_cpu(cpu);
  *stage.mutable_at() = milliseconds(at);
  stage.set_note(note);
}

}  // namespace

v1::Run run(const std::string& scenario, v1::Verdict verdict, v1::Outcome outcome) {
  v1::Run run;
  run.set_scenario(scenario);
  run.set_file("scenarios/" + scenario + ".yaml");
  run.set_kernel_release("6.1.0-56-cloud-amd64");
  run.set_capture_kernel_release("6.1.0-56-cloud-amd64");
  run.set_engine("qemu (tcg)");
  run.set_verdict(verdict);
  run.set_outcome(outcome);
  run.set_expected_outcome(v1::OUTCOME_DUMPED);
  run.set_repeat(1);
  *run.mutable_wall() = milliseconds(2500);
  return run;
}

v1::Run failed_run() {
  auto failed = run("second-panic", v1::VERDICT_FAIL, v1::OUTCOME_RESET);
  failed.set_detail("the machine was reset\nbefore the capture kernel was entered");
  failed.set_artifacts("second-panic/1");
  add_step(failed, "cpu 0: panic at workload", 1000, 0, 0xffffffff81000010, "panic");
  add_step(failed, "cpu 0: hold at __crash_kexec/lock-taken", 1250, 0, 0xffffffff8115a3b0, "__crash_kexec+0x5b");
  add_step(failed, "cpu 1: note at panic_smp_self_stop", 0, 1, 0, "");
  add_step(failed, "cpu 0: release", 0, 0, 0, "");
  add_stage(failed, "injected", 0, 1000, "");
  add_stage(failed, "stopped-by-nmi", 0, 1875, "0xf8 from CPU 1");
  auto& stopped = *failed.add_places();
  stopped.set_cpu(0);
  stopped.set_place("stop_this_cpu+0x14");
  stopped.set_where("first");
  stopped.set_nmis_blocked(true);
  stopped.set_halted(true);
  stopped.add_backtrace("nmi_handle+0x5a");
  stopped.add_backtrace("__crash_kexec+0x5b");
  auto& resetting = *failed.add_places();
  resetting.set_cpu(1);
  resetting.set_rip(0xffffffff81234567);
  resetting.set_where("unknown");
  resetting.set_interrupts_enabled(true);
  auto& check = *failed.mutable_dump()->add_checks();
  check.set_name("panic_cpu");
  check.set_expected("0");
  check.set_actual("1");
  failed.mutable_dump()->add_missing_cpus(1);
  return failed;
}

v1::Report report() {
  v1::Report report;
  report.set_panicroom_version("0.1.0");
  report.mutable_host()->set_name("build-7");
  report.mutable_started()->set_seconds(1'700'000'000);
  report.mutable_started()->set_nanos(5);
  *report.add_runs() = run("single-panic", v1::VERDICT_PASS, v1::OUTCOME_DUMPED);
  *report.add_runs() = failed_run();
  auto& error = *report.add_runs() = run("oops", v1::VERDICT_ERROR, v1::OUTCOME_UNSPECIFIED);
  error.set_detail("QEMU ended with signal 9");
  auto& skip = *report.add_runs() = run("stop-ipi-#drop", v1::VERDICT_SKIP, v1::OUTCOME_UNSPECIFIED);
  skip.set_detail("needs the capability #ipi-policy");
  skip.clear_wall();
  return report;
}

}  // namespace panicroom::harness::sample
