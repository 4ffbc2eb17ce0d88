#include "harness/director/trial.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

#include "agent/protocol/frame.h"
#include "agent/protocol/quiet_word.h"
#include "harness/director/agent_log.h"
#include "harness/director/capture_console.h"
#include "harness/director/explanations.h"
#include "harness/director/first_console.h"
#include "harness/director/heartbeats.h"
#include "harness/director/lent_memory.h"
#include "harness/director/open_gate.h"
#include "harness/director/standstill.h"
#include "harness/director/stop_ipi_watch.h"
#include "harness/director/time_allowance.h"
#include "harness/director/timeline.h"
#include "harness/director/trial_started.h"
#include "harness/observer/dump_judge.h"
#include "harness/observer/journal.h"
#include "harness/observer/log_check.h"
#include "harness/observer/place_samples.h"
#include "harness/observer/places.h"
#include "harness/observer/stage_observer.h"
#include "harness/observer/verdict.h"
#include "harness/saved_dump/saved_dump.h"

namespace panicroom::harness {
namespace {

using hypervisor::Clock;
using hypervisor::Event;
using hypervisor::Machine;

// A crash in which nothing has been heard for this long is looked at: is there a CPU left that can go on? No limit, and
// what is found there is proof at any pace.
constexpr auto kSilence = std::chrono::seconds(2);
// How long the engine may take to stop a machine that it was asked to stop.
constexpr auto kPauseLimit = std::chrono::seconds(30);
// A guest that was heard within this time (of an engine of the usual pace) is at work, if on a slow host: its trial
// gets more time, up to TimeAllowance::kMaxStretch timeouts. A capture kernel that is at work even then says something
// about the host; a crash that only goes on talking has hung.
constexpr auto kWorking = std::chrono::seconds(20);
// next_event() that returns this much after its deadline means that panicroom itself did not run (Ctrl-Z, a host that
// is out of CPUs): time that the guest did not have either.
constexpr auto kOversleep = std::chrono::seconds(1);
// How long at a time is waited for an event where nothing limits the trial.
constexpr auto kNoLimit = std::chrono::hours(1);

double in_seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

class Trial {
 public:
  Trial(const TrialSetup& setup, Driver& driver)
      : setup_(setup),
        machine_(setup.machine),
        journal_(setup.journal),
        ipis_(setup.machine, setup.scenario.stop_ipi),
        driver_(driver),
        observer_(setup.machine, setup.plan, setup.kernel, journal_),
        gate_(setup.machine, setup.journal),
        saved_dump_(setup.folder),
        place_samples_(setup.machine, setup.kernel, journal_),
        frames_(agent::FrameDecoder::Start::kMidStream),
        heartbeats_(setup.pace),
        last_heard_(journal_.start()) {
    start_time(journal_.start());
  }

  Result<> run();
  // Leaves the machine as it was found, for the next trial.
  Result<> clean_up();

 private:
  Result<> dispatch(const Event& event);
  Result<> on_breakpoint(const hypervisor::BreakpointHit& hit);
  Result<> on_ipi(const hypervisor::Ipi& ipi);
  Result<> on_output(const hypervisor::Output& output);
  // Carries out what is in the inbox, and stops the machine for what lies in its memory.
  Result<> take_messages();
  Result<> on_message(agent::v1::Message message);
  Result<> judge_saved_dump(DumpJudge::Finding& finding);
  void log_agent(const std::string& line);
  void on_first_kernels_message(const agent::v1::Message& message);
  void on_capture_entered();
  void on_reset(std::string_view how);
  Result<> on_deadline();
  Result<> on_limit(Clock::time_point now);
  Result<> on_jump(VcpuId owner, const hypervisor::Registers& registers);
  Result<> check_capture_image();
  Result<> quiet_first_agent();
  // Lets the driver have the machine while it stands still. False: the trial is to end.
  Result<bool> let_driver();
  Result<> watch_ipis_if_wanted();
  Result<> resume();
  Result<> stop();
  // If there is a limit.
  void start_time(Clock::time_point from);
  [[nodiscard]] bool something_is_to_come() const;
  [[nodiscard]] Clock::time_point next_deadline() const;
  void decide(Outcome outcome, std::string detail = {});
  void tell_panic_message();
  // Decided as soon as the machine has been stopped and it is known where every CPU is.
  void decide_with_places(Outcome outcome, std::string detail);
  Result<> settle();
  void take_places();

  const TrialSetup& setup_;
  Machine& machine_;
  Journal& journal_;
  StopIpiWatch ipis_;
  Driver& driver_;
  StageObserver observer_;
  OpenGate gate_;
  DumpJudge judge_;
  SavedDump saved_dump_;
  std::optional<agent::v1::DumpSaved> dump_saved_;
  PlaceSamples place_samples_;
  agent::FrameDecoder frames_;
  std::deque<agent::v1::Message> inbox_;
  Heartbeats heartbeats_;
  FirstConsole first_console_;
  CaptureConsole capture_console_;
  bool running_ = false;
  bool decided_ = false;
  bool stop_wanted_ = false;  // By the driver, while the machine runs.
  bool delays_ipis_ = false;  // A rule does, or did.
  std::optional<std::pair<Outcome, std::string>> unsettled_;
  Clock::time_point last_heard_;
  std::optional<TimeAllowance> time_;  // Nothing: it takes as long as it takes.
};

void Trial::decide(Outcome outcome, std::string detail) {
  if (decided_) return;
  decided_ = true;
  journal_.unwatched_ipis(machine_.take_unwatched_ipis());
  tell_panic_message();
  journal_.outcome(to_proto(outcome), std::move(detail));
}

void Trial::tell_panic_message() {
  const auto message = observer_.message();
  if (!message) return;
  std::vector<PanicMessage> others;
  for (const auto& [cpu, said] : observer_.messages()) {
    if (said.text != message->text) others.push_back(said);
  }
  v1::Event event;
  auto& told = *event.mutable_panic_message();
  told.set_text(message->text);
  told.set_console(to_proto(message_state(first_console_.text(), *message, others)));
  if (judge_.finished()) told.set_log(to_proto(message_state(judge_.dead_log(), *message, others)));
  journal_.add(std::move(event));
}

void Trial::take_places() {
  v1::Event event;
  event.mutable_places()->set_final(true);
  const auto jumped = observer_.jumped() ? observer_.truth().owner : std::nullopt;
  for (auto& place : places(machine_, setup_.kernel, setup_.capture, jumped)) {
    *event.mutable_places()->add_cpus() = std::move(place);
  }
  journal_.add(std::move(event));
}

void Trial::decide_with_places(Outcome outcome, std::string detail) {
  if (!unsettled_) unsettled_.emplace(outcome, std::move(detail));
}

Result<> Trial::settle() {
  if (decided_ || !unsettled_) return {};
  TRY(stop());
  if (decided_) return {};  // What came while it was being stopped has decided otherwise.
  take_places();
  const bool stands_still = unsettled_->first == Outcome::kHung || unsettled_->first == Outcome::kCaptureFailed;
  decide(unsettled_->first, unsettled_->second + (stands_still ? who_is_in_an_nmi(journal_.run()) : ""));
  return {};
}

Result<> Trial::resume() {
  // Of a held CPU something may still be to be told.
  bool anybody = false;
  for (std::uint32_t cpu = 0; cpu < machine_.vcpus() && !anybody; ++cpu) {
    anybody = !machine_.held(VcpuId{cpu}) || TRY(machine_.has_hit_to_report(VcpuId{cpu}));
  }
  if (!anybody) return invalid_input("every CPU is held, and no step is left that could release one");
  TRY(machine_.resume());
  running_ = true;
  return {};
}

Result<> Trial::stop() {
  if (!running_) return {};
  TRY(machine_.pause());
  const auto limit = Clock::now() + kPauseLimit;
  while (running_) {
    const Event event = machine_.next_event(limit);
    if (std::holds_alternative<hypervisor::DeadlinePassed>(event)) return host_error("the machine does not stop");
    TRY(dispatch(event));
  }
  return take_messages();
}

Result<> Trial::watch_ipis_if_wanted() {
  if (ipis_.begun() || observer_.jumped()) return {};
  if (!observer_.crashing() && setup_.scenario.stop_ipi.empty() && !driver_.waits_for_ipi()) return {};
  return ipis_.begin(setup_.plan.icr_stores, setup_.kernel);
}

Result<> Trial::run() {
  journal_.add(trial_started(setup_));
  // Before the trial began, but of its story.
  if (setup_.scenario.from == From::kBoot) {
    journal_.stage("switched-on", std::nullopt, "the machine stands before its first instruction");
  } else {
    journal_.stage("booted", std::nullopt,
                   fmt::format("this machine took {:.1f} s to boot to the armed state, its capture kernel loaded by {}",
                               std::chrono::duration<double>(setup_.boot_time).count(), agent::name(setup_.kexec)));
    journal_.stage("armed", std::nullopt, "restored from the snapshot of an armed machine");
  }
  // Those of the boot, and of the trial before.
  machine_.take_unwatched_ipis();
  TRY(observer_.arm());
  if (setup_.plan.gate) TRY(gate_.arm(setup_.kernel.running(*setup_.plan.gate)));
  TRY(driver_.begin());
  while (!decided_) {
    if (!running_) {
      if (!TRY(let_driver())) return {};
      if (driver_.take_new_ipi_rules()) TRY(ipis_.end());
      TRY(watch_ipis_if_wanted());
      TRY(ipis_.follow(driver_));
      // For good: what a rule has delayed comes whatever the rules are by then.
      delays_ipis_ = delays_ipis_ || std::ranges::any_of(setup_.scenario.stop_ipi, [](const StopIpiRule& one) {
                       return std::holds_alternative<hypervisor::Delay>(one.rule.delivery);
                     });
      TRY(resume());
    }
    const auto deadline = next_deadline();
    const Event event = machine_.next_event(deadline);
    if (const auto late = Clock::now() - deadline; time_ && late > kOversleep) time_->give_back(late);
    TRY(dispatch(event));
    // A driver may begin to wait for the outcome while the machine runs.
    if (!time_) start_time(Clock::now());
    TRY(take_messages());
    TRY(settle());
    if (std::exchange(stop_wanted_, false)) TRY(stop());
  }
  return {};
}

Result<bool> Trial::let_driver() {
  const auto before = Clock::now();
  const bool go_on = TRY(driver_.before_resume());
  const auto now = Clock::now();
  // The guest has had none of this time.
  last_heard_ += now - before;
  if (time_) {
    time_->stood_still(now - before);
  } else {
    start_time(Clock::now());
  }
  return go_on;
}

void Trial::start_time(Clock::time_point from) {
  if (const auto timeout = driver_.timeout()) time_.emplace(from, setup_.pace.allow(*timeout), machine_.starved());
}

Result<> Trial::clean_up() {
  TRY(stop());
  TRY(driver_.disarm());
  TRY(observer_.disarm());
  TRY(gate_.disarm());
  TRY(ipis_.end());
  for (std::uint32_t cpu = 0; cpu < machine_.vcpus(); ++cpu) machine_.set_held(VcpuId{cpu}, false);
  return {};
}

Clock::time_point Trial::next_deadline() const {
  Clock::time_point next = time_ ? time_->limit() : Clock::now() + kNoLimit;
  if (time_ && observer_.crashing()) next = std::min(next, std::max(last_heard_, Clock::now()) + kSilence);
  if (const auto window = driver_.next_deadline()) next = std::min(next, *window);
  return next;
}

Result<> Trial::dispatch(const Event& event) {
  if (hypervisor::stops(event)) running_ = false;
  // Before what has happened since.
  if (!decided_) journal_.unwatched_ipis(machine_.take_unwatched_ipis());
  if (const auto* lost = std::get_if<hypervisor::MachineLost>(&event)) return lost->reason;
  if (const auto* output = std::get_if<hypervisor::Output>(&event)) return on_output(*output);
  if (decided_) return {};
  if (const auto* hit = std::get_if<hypervisor::BreakpointHit>(&event)) return on_breakpoint(*hit);
  if (const auto* sent = std::get_if<hypervisor::IpiSent>(&event)) return on_ipi(sent->ipi);
  if (std::holds_alternative<hypervisor::GuestReset>(event)) on_reset("the machine was reset");
  if (std::holds_alternative<hypervisor::GuestShutdown>(event)) on_reset("the machine powered itself off");
  if (std::holds_alternative<hypervisor::DeadlinePassed>(event)) return on_deadline();
  // Not here: the machine may be about to stop for another reason.
  if (std::holds_alternative<hypervisor::Cancelled>(event)) stop_wanted_ = TRY(driver_.on_cancelled()) || stop_wanted_;
  return {};
}

Result<> Trial::on_breakpoint(const hypervisor::BreakpointHit& hit) {
  const auto registers = TRY(machine_.registers(hit.vcpu));
  if (registers.rip != hit.at.value) {
    return host_error("CPU {} was reported at {:#x} but stands at {:#x}", hit.vcpu, hit.at.value, registers.rip);
  }
  last_heard_ = Clock::now();
  if (setup_.sample_places) place_samples_.take();
  if (gate_.owns(hit.id)) return gate_.let_pass(hit.vcpu, registers);
  if (!observer_.crashing()) observer_.remember(hit.vcpu, registers, "a step of the timeline");
  if (!TRY(driver_.on_breakpoint(hit, registers))) {
    const bool reset_had_begun = observer_.reset_begun();
    TRY(observer_.on_breakpoint(hit, registers));
    if (observer_.reset_begun() && !reset_had_begun) take_places();
  }
  if (observer_.jumped() && !capture_console_.watching()) return on_jump(hit.vcpu, registers);
  return {};
}

Result<> Trial::on_jump(VcpuId owner, const hypervisor::Registers& registers) {
  for (std::uint32_t cpu = 0; cpu < machine_.vcpus(); ++cpu) {
    const VcpuId vcpu{cpu};
    const auto& truth = observer_.truth();
    const auto known = truth.cpus.find(vcpu);
    const bool stopped = known != truth.cpus.end() && known->second.stopped_at;
    if (vcpu != truth.owner && !stopped) journal_.stage("not-stopped", vcpu);
  }
  // From here on other code runs at other addresses: every breakpoint would be a trap for the innocent.
  TRY(driver_.on_jump(owner, registers));
  TRY(observer_.disarm());
  TRY(gate_.disarm());
  TRY(check_capture_image());
  TRY(ipis_.end());
  TRY(quiet_first_agent());
  TRY(observer_.record_memory(setup_.memory));
  journal_.stage("memory-sampled");
  capture_console_.begin();
  last_heard_ = Clock::now();
  return {};
}

// Before the memory is sampled: the word is in a page that the dump is compared with.
Result<> Trial::quiet_first_agent() {
  if (setup_.memory.workload_pages.empty()) return {};
  constexpr std::uint32_t kQuiet = 1;
  return machine_.write_physical(setup_.memory.workload_pages.front() + agent::kQuietWordOffset,
                                 std::as_bytes(std::span(&kQuiet, 1)));
}

// relocate_kernel(indirection_page, control_page, start, ...): the third argument is where the new kernel begins
// (struct kimage's start, kernel/kexec_core.c).
Result<> Trial::check_capture_image() {
  const auto& owner = observer_.truth().owner;
  if (!owner) return {};
  const auto registers = TRY(machine_.registers(*owner));
  const auto spared = TRY(setup_.image_check.at_jump(
      Gpa{registers.rdx},
      {.read = [this](Gpa at, std::span<std::byte> into) { return machine_.read_physical(at, into); },
       .write = [this](Gpa at, std::span<const std::byte> bytes) { return machine_.write_physical(at, bytes); }}));
  if (spared) {
    journal_.stage(
        "capture-image-checked", std::nullopt,
        fmt::format("by the host, {} bytes: as they were when this machine's purgatory let them pass", *spared));
  }
  return {};
}

Result<> Trial::on_ipi(const hypervisor::Ipi& ipi) {
  if (setup_.sample_places) place_samples_.take();
  journal_.ipi(ipi);
  return driver_.on_ipi(ipi);
}

void Trial::log_agent(const std::string& line) {
  setup_.sinks.agent_log(line);
  journal_.agent(line);
}

// Logged in any case; it means something only until the outcome is decided.
Result<> Trial::on_output(const hypervisor::Output& output) {
  last_heard_ = Clock::now();
  if (output.stream == hypervisor::Stream::kConsole) {
    setup_.sinks.console(output.bytes);
    journal_.console(output.bytes);
    if (!capture_console_.entered()) first_console_.feed(output.bytes);
    capture_console_.feed(output.bytes);
    if (decided_) return {};
    if (capture_console_.entered()) on_capture_entered();
    if (capture_console_.panicked()) {
      decide_with_places(Outcome::kCaptureFailed,
                         "the capture kernel panicked: " + capture_console_.panic_line() + capture_console_.tail());
    }
    return {};
  }
  for (const auto& received : frames_.feed(as_bytes(output.bytes))) {
    if (const auto* error = std::get_if<agent::ProtocolError>(&received)) {
      // A crash may cut the first kernel's last message in two. In the capture kernel nothing may be missing.
      log_agent(agent::describe(*error));
      judge_.take(*error);
      continue;
    }
    const auto& message = std::get<agent::v1::Message>(received);
    log_agent(describe(message));
    inbox_.push_back(message);
  }
  return {};
}

Result<> Trial::take_messages() {
  while (!inbox_.empty() && !decided_) {
    if (running_ && lent(inbox_.front()) != nullptr) return stop();
    auto message = std::move(inbox_.front());
    inbox_.pop_front();
    TRY(on_message(std::move(message)));
  }
  return {};
}

void Trial::on_first_kernels_message(const agent::v1::Message& message) {
  if (message.kind_case() != agent::v1::Message::kHeartbeat) return;
  heartbeats_.take(message.heartbeat(), Clock::now(), driver_.complete() && !observer_.crashing());
  if (heartbeats_.calm()) {
    decide_with_places(Outcome::kNoPanic, "the timeline was carried out, and the kernel goes on working");
  }
}

Result<> Trial::on_message(agent::v1::Message message) {
  using agent::v1::Message;
  if (!observer_.jumped()) {
    on_first_kernels_message(message);
    return {};
  }
  if (const auto* memory = lent(message)) {
    const auto bytes = TRY(take_lent(machine_, *memory));
    if (message.has_dead_log()) message.mutable_dead_log()->set_text(bytes.data(), bytes.size());
    if (message.has_dump_part()) TRY(saved_dump_.add(message.dump_part().offset(), bytes));
  }
  if (message.has_dump_saved()) {
    journal_.stage("dump-saved");
    dump_saved_ = message.dump_saved();
  }
  judge_.take(message);
  if (judge_.agent_runs()) {
    on_capture_entered();
    journal_.stage("capture-userspace");
  }
  if (message.kind_case() == Message::kFailed) {
    const auto& failed = message.failed();
    if (failed.stage() == agent::v1::Failed::STAGE_INTERNAL || failed.stage() == agent::v1::Failed::STAGE_CONFIG) {
      return host_error("the agent in the capture kernel: {}", failed.text());
    }
    decide_with_places(Outcome::kCaptureFailed, "the capture kernel's agent: " + failed.text());
    return {};
  }
  if (judge_.opened()) journal_.stage("vmcore-opened");
  if (!judge_.finished()) return {};
  const Expectation& expected = setup_.scenario.expected_on(setup_.kernel.image().release());
  auto finding = TRY(judge_.judge(observer_.truth(), expected.dump));
  if (setup_.scenario.save_dump) TRY(judge_saved_dump(finding));
  journal_.stage("dump-verified");
  v1::Event judged;
  *judged.mutable_dump_judged()->mutable_dump() = std::move(finding.dump);
  journal_.add(std::move(judged));
  if (finding.outcome == expected.outcome) {
    decide(finding.outcome, std::move(finding.detail));
  } else {
    decide_with_places(finding.outcome, std::move(finding.detail));
  }
  return {};
}

Result<> Trial::judge_saved_dump(DumpJudge::Finding& finding) {
  if (!dump_saved_) return host_error("the agent has judged the dump, but not saved it");
  auto saved = TRY(saved_dump_.finish(*dump_saved_, observer_.truth()));
  *finding.dump.mutable_saved() = std::move(saved.saved);
  for (auto& check : saved.checks) *finding.dump.add_checks() = std::move(check);
  if (saved.trouble.empty()) return {};
  finding.outcome = Outcome::kDumpInvalid;
  finding.detail +=
      fmt::format("{}the saved dump is not what it should be: {}", finding.detail.empty() ? "" : "; ", saved.trouble);
  return {};
}

void Trial::on_capture_entered() {
  journal_.stage("capture-entered");
  setup_.image_check.passed();
}

void Trial::on_reset(std::string_view how) {
  journal_.stage("reset");
  if (!observer_.jumped()) {
    decide(Outcome::kReset, fmt::format("{} without a dump{}", how, cause_of_reset(observer_, journal_.run())));
  } else {
    decide(Outcome::kCaptureFailed,
           fmt::format("{} {}", how,
                       capture_console_.entered() ? "while the capture kernel ran" + capture_console_.tail()
                                                  : "after the jump, before the capture kernel said anything"));
  }
}

// What can still end a standstill from outside: the end of a window, an IPI that is on its way.
bool Trial::something_is_to_come() const { return driver_.next_deadline() || delays_ipis_; }

Result<> Trial::on_limit(Clock::time_point now) {
  time_->set_starved(machine_.starved());
  if (time_->host_is_too_slow()) {
    return host_error("this host is too slow: in {:.0f} s the guest had to wait {:.0f} s for a CPU of the host's",
                      in_seconds(now - journal_.start()), in_seconds(time_->given()));
  }
  if (now < time_->limit()) return {};
  const Clock::duration working = setup_.pace.allow(kWorking);
  const bool at_work = now - last_heard_ < working;
  if (observer_.jumped()) {
    if (at_work && time_->stretched_too_far(now)) {
      return host_error("the capture kernel still works after {} times the scenario's timeout: this host is too slow",
                        TimeAllowance::kMaxStretch);
    }
    // Nothing is heard of a capture kernel before it has a console, however long the host takes to unpack and boot it.
    if (at_work || (!capture_console_.entered() && !time_->stretched_too_far(now))) {
      time_->extend(now + working);
      return {};
    }
    decide_with_places(Outcome::kCaptureFailed, fmt::format("nothing more came from the capture kernel in {:.0f} s{}",
                                                            in_seconds(time_->had(now)), capture_console_.tail()));
    return {};
  }
  if (!observer_.crashing() && heartbeats_.seen_lately(now)) {
    decide_with_places(Outcome::kNoPanic, fmt::format("no panic in {:.0f} s", in_seconds(time_->had(now))));
    return {};
  }
  // Nothing that was heard says that it has hung; before a crash, a heartbeat can still come.
  if (at_work && !time_->stretched_too_far(now)) {
    time_->extend(observer_.crashing() ? now + working : last_heard_ + working);
    return {};
  }
  decide_with_places(Outcome::kHung, fmt::format("no dump and no reset in {:.0f} s{}", in_seconds(time_->had(now)),
                                                 why_not_dumped(observer_)));
  return {};
}

Result<> Trial::on_deadline() {
  const auto now = Clock::now();
  if (const auto window = driver_.next_deadline(); window && *window <= now) {
    TRY(stop());
    return driver_.on_time(now);
  }
  if (!time_) return {};
  if (now >= time_->limit()) return on_limit(now);
  // Silence in a crash. CPUs that all halt or spin with interrupts off wait for an NMI, and nobody is left to send one.
  if (!observer_.crashing() || now - last_heard_ < kSilence) return {};
  const bool had_jumped = observer_.jumped();
  TRY(stop());
  if (decided_ || unsettled_ || observer_.jumped() != had_jumped) return {};
  const auto found = TRY(standstill(machine_));
  if (found == Standstill::kNone || (found == Standstill::kSpinning && something_is_to_come())) return {};
  take_places();
  const std::string how = found == Standstill::kHalted
                              ? "has halted with interrupts off"
                              : "spins with interrupts off in a loop that nothing ends, or has halted";
  if (had_jumped) {
    decide(Outcome::kCaptureFailed, fmt::format("every CPU {} in the capture kernel{}{}", how, capture_console_.tail(),
                                                who_is_in_an_nmi(journal_.run())));
  } else {
    decide(Outcome::kHung, fmt::format("every CPU that may run {}{}{}", how, why_not_dumped(observer_),
                                       who_is_in_an_nmi(journal_.run())));
  }
  return {};
}

}  // namespace

Result<AfterTrial> run_trial(const TrialSetup& setup) {
  Timeline timeline(setup.machine, setup.scenario, setup.plan, setup.kernel, setup.start_pages, setup.journal);
  return run_trial(setup, timeline);
}

Result<AfterTrial> run_trial(const TrialSetup& setup, Driver& driver) {
  Trial trial(setup, driver);
  TRY(trial.run());
  // What is decided stays decided, whatever becomes of the machine.
  return trial.clean_up() ? AfterTrial::kReusable : AfterTrial::kSpent;
}

}  // namespace panicroom::harness
