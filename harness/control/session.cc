#include "harness/control/session.h"

#include <google/protobuf/util/time_util.h>

#include <exception>
#include <optional>
#include <utility>

#include "harness/control/words.h"
#include "harness/director/trial.h"
#include "harness/plan/plan.h"
#include "harness/session/armed_machine.h"

namespace panicroom::control {
namespace {

using google::protobuf::util::TimeUtil;

class Session {
 public:
  Session(const SessionOptions& options, RequestQueue& requests, const ResponseSink& respond,
          harness::Cancellation& cancellation)
      : options_(options), requests_(requests), respond_(respond), cancellation_(cancellation) {}

  Result<> run();

 private:
  struct Opened {
    harness::Scenario scenario;
    std::shared_ptr<const kernels::KernelImage> kernel;
    std::shared_ptr<const kernels::KernelImage> capture;
    harness::Plan plan;
    std::unique_ptr<harness::ArmedMachine> machine;
  };
  Result<Opened> open(const v1::OpenOperation& request);
  Result<> tell_opened(std::uint64_t id, const Opened& opened);
  // Returns the request to go back to a snapshot that has ended the trial.
  Result<v1::ControlRequest> run_trial(Opened& opened);
  Result<> restore(Opened& opened, const v1::ControlRequest& request);
  void tell_stage(std::string_view stage);

  const SessionOptions& options_;
  RequestQueue& requests_;
  const ResponseSink& respond_;
  harness::Cancellation& cancellation_;
  std::set<std::string> snapshots_;
  std::uint32_t last_breakpoint_ = 0;
};

void Session::tell_stage(std::string_view stage) {
  v1::ControlResponse response;
  response.mutable_event()->mutable_activity()->set_stage(std::string(stage));
  // A client that is gone is noticed by the queue's end.
  [[maybe_unused]] const auto sent = respond_(std::move(response));
}

Result<Session::Opened> Session::open(const v1::OpenOperation& request) {
  Opened opened;
  auto read = read_open(request);
  if (!read.mistakes.empty()) {
    return invalid_input("{}: {}", read.mistakes.front().field, read.mistakes.front().description);
  }
  opened.scenario = std::move(read.scenario);
  const auto on_stage = [this](std::string_view stage) { tell_stage(stage); };
  opened.kernel = TRY(options_.load_kernel(request.kernel(), on_stage));
  opened.capture =
      request.capture_kernel().empty() ? opened.kernel : TRY(options_.load_kernel(request.capture_kernel(), on_stage));
  opened.plan = TRY(harness::make_plan(opened.scenario, *opened.kernel));
  tell_stage("measuring the engines");
  const auto engine = TRY(options_.make_engine(request.engine().empty() ? "auto" : request.engine()));
  const harness::MachineRecipe recipe{.kernel = opened.kernel.get(),
                                      .capture = opened.capture.get(),
                                      .machine = opened.scenario.machine,
                                      .workload = opened.scenario.workload,
                                      .extra_cmdline = opened.scenario.kernel_cmdline,
                                      .save_dump = std::nullopt};
  opened.machine = TRY(harness::ArmedMachine::boot(recipe, {.factory = engine.factory,
                                                            .directory = options_.directory / "control",
                                                            .log_directory = options_.logs,
                                                            .cancellation = cancellation_,
                                                            .on_stage = on_stage,
                                                            .pace = engine.pace}));
  if (!opened.scenario.stop_ipi.empty() && !opened.machine->machine().can(hypervisor::Capability::kIpiPolicy)) {
    return unsupported("the engine {} has no policy for IPIs", engine.name);
  }
  return opened;
}

Result<> Session::tell_opened(std::uint64_t id, const Opened& opened) {
  v1::ControlResponse response;
  response.mutable_result()->set_id(id);
  auto& result = *response.mutable_result()->mutable_opened();
  result.set_kernel_release(opened.kernel->release());
  result.set_capture_kernel_release(opened.capture->release());
  result.set_engine(opened.machine->machine().engine());
  result.set_kaslr_slide(opened.machine->kernel().slide().bytes);
  result.set_vcpus(opened.machine->machine().vcpus());
  *result.mutable_boot_time() = TimeUtil::NanosecondsToDuration(opened.machine->boot_time().count());
  return respond_(std::move(response));
}

Result<v1::ControlRequest> Session::run_trial(Opened& opened) {
  auto& armed = *opened.machine;
  auto& machine = armed.machine();
  harness::Scenario scenario = opened.scenario;
  v1::Run run;
  run.set_scenario(scenario.name);
  run.set_kernel_release(opened.kernel->release());
  run.set_capture_kernel_release(opened.capture->release());
  run.set_engine(machine.engine());
  run.set_kaslr_slide(armed.kernel().slide().bytes);
  harness::Journal journal(run, {.stage = {}, .event = [this](const v1::Event& event) {
                                   v1::ControlResponse response;
                                   *response.mutable_event()->mutable_trial() = event;
                                   [[maybe_unused]] const auto sent = respond_(std::move(response));
                                 }});
  ClientDriver driver({.machine = machine,
                       .kernel = armed.kernel(),
                       .plan = opened.plan,
                       .scenario = scenario,
                       .journal = journal,
                       .requests = requests_,
                       .respond = respond_,
                       .snapshots = snapshots_,
                       .last_breakpoint = last_breakpoint_});
  requests_.on_arrival([&machine] { machine.cancel(); });
  const auto after =
      harness::run_trial({.machine = machine,
                          .scenario = scenario,
                          .plan = opened.plan,
                          .kernel = armed.kernel(),
                          .capture = *opened.capture,
                          .boot_time = armed.boot_time(),
                          .kexec = armed.kexec(),
                          .image_check = armed.image_check(),
                          .memory = armed.memory(),
                          .journal = journal,
                          .sinks = {.console = [](std::string_view) {}, .agent_log = [](std::string_view) {}},
                          .folder = options_.logs,
                          .pace = armed.pace()},
                         driver);
  requests_.on_arrival({});
  if (!after) return after.error();
  return driver.after_trial(*after == harness::AfterTrial::kSpent);
}

Result<> Session::restore(Opened& opened, const v1::ControlRequest& request) {
  auto& machine = opened.machine->machine();
  // A request's arrival that nothing waited for any more would be taken for the session's end.
  while (true) {
    const auto event = machine.next_event(hypervisor::Clock::now());
    if (std::holds_alternative<hypervisor::DeadlinePassed>(event)) break;
    if (const auto* lost = std::get_if<hypervisor::MachineLost>(&event)) return lost->reason;
  }
  if (cancellation_.requested()) return Error(ErrorKind::kCancelled, "cancelled");
  const auto& name = request.restore_snapshot().name();
  TRY(name.empty() ? opened.machine->restore() : opened.machine->restore(name));
  v1::ControlResponse response;
  response.mutable_result()->set_id(request.id());
  response.mutable_result()->mutable_done();
  return respond_(std::move(response));
}

Result<> Session::run() {
  const auto first = requests_.take();
  if (!first) return {};
  if (!first->has_open()) return invalid_input("the first request opens the machine");
  auto opened = TRY(open(first->open()));
  TRY(tell_opened(first->id(), opened));
  while (true) {
    const auto back = TRY(run_trial(opened));
    TRY(restore(opened, back));
  }
}

}  // namespace

Result<> run_session(const SessionOptions& options, RequestQueue& requests, const ResponseSink& respond,
                     harness::Cancellation& cancellation) {
  // Libraries throw when memory or threads run out; that must not end the process with its guest.
  auto ended = [&]() -> Result<> {
    try {
      return Session(options, requests, respond, cancellation).run();
    } catch (const std::exception& exception) {
      return host_error("the session ended by an exception: {}", exception.what());
    }
  }();
  if (!ended && ended.error().kind() == ErrorKind::kCancelled) return {};
  return ended;
}

}  // namespace panicroom::control
