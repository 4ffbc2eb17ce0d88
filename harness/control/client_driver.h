// A client in the place of a timeline: drives one trial by the requests that come from it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "harness/control/request_queue.h"
#include "harness/director/actions.h"
#include "harness/director/driver.h"
#include "harness/observer/journal.h"
#include "harness/observer/running_kernel.h"
#include "harness/plan/plan.h"
#include "harness/scenario/scenario.h"
#include "hypervisor/machine.h"
#include "panicroom/v1/control.pb.h"

namespace panicroom::control {

// Takes a response to the client. An error, because nobody is there any more, ends the session.
using ResponseSink = std::function<Result<>(v1::ControlResponse response)>;

v1::ControlError to_proto(const Error& error);
v1::ControlError control_error(v1::ControlError::Code code, std::string_view message);
v1::ControlResponse error_response(std::uint64_t id, v1::ControlError error);

// What a trial of a session is made of; everything outlives the driver.
struct ClientDriverSetup {
  hypervisor::Machine& machine;
  const harness::RunningKernel& kernel;
  const harness::Plan& plan;
  harness::Scenario& scenario;  // The trial's own: its stop_ipi is what the client makes of it.
  harness::Journal& journal;
  RequestQueue& requests;
  const ResponseSink& respond;
  std::set<std::string>& snapshots;  // The machine's, beside "armed".
  std::uint32_t& last_breakpoint;    // Numbers are the session's.
  std::uint32_t max_steps = 10'000;  // Of one request; so are the next of a trial.
  std::size_t max_breakpoints = 64;
  std::size_t max_snapshots = 4;
};

// One thread: that of the trial. Every request is answered, but for those that come behind the end of the session.
class ClientDriver final : public harness::Driver {
 public:
  explicit ClientDriver(const ClientDriverSetup& setup);

  // The trial is over, decided if there is an outcome; `spent`: the machine is of no use any more. Answers what can be
  // answered then, until the client wants to go back to a snapshot: that request, which is still to be answered.
  // kCancelled if the client is gone.
  Result<v1::ControlRequest> after_trial(bool spent);

  Result<> begin() override { return {}; }
  Result<> on_jump(VcpuId vcpu, const hypervisor::Registers& registers) override;
  Result<> disarm() override;
  Result<bool> on_breakpoint(const hypervisor::BreakpointHit& hit, const hypervisor::Registers& registers) override;
  Result<> on_ipi(const hypervisor::Ipi& ipi) override;
  [[nodiscard]] std::optional<hypervisor::Clock::time_point> next_deadline() const override;
  Result<> on_time(hypervisor::Clock::time_point now) override;
  Result<bool> before_resume() override;
  Result<bool> on_cancelled() override;
  [[nodiscard]] bool complete() const override { return timeout_ && actions_.settled(); }
  [[nodiscard]] bool waits_for_ipi() const override;
  [[nodiscard]] bool happened(std::uint32_t step) const override { return step == 0; }
  bool take_new_ipi_rules() override { return std::exchange(new_ipi_rules_, false); }
  [[nodiscard]] std::optional<harness::Nanoseconds> timeout() const override { return timeout_; }

 private:
  struct Breakpoint {
    std::set<VcpuId> cpus;  // Empty: all.
    std::vector<Gva> at;    // Empty for an IPI.
    std::set<hypervisor::BreakpointId> armed;
    kernels::PointCondition condition = kernels::PointCondition::kAlways;
    std::optional<harness::AtIpi> ipi;
  };
  enum class State { kStopped, kRunning, kOver };

  // Carries out a request, and answers it, unless it waits for the outcome or ends the trial.
  Result<> serve(const v1::ControlRequest& request);
  // What the state does not allow; nothing: it may be tried.
  [[nodiscard]] std::optional<v1::ControlError> refusal(const v1::ControlRequest& request) const;
  // An error becomes the response.
  Result<> perform(const v1::ControlRequest& request, v1::ControlResult& result);
  Result<> go_on();
  Result<> step_on();
  Result<> add_breakpoint(const v1::AddBreakpointOperation& operation, v1::AddBreakpointResult& result);
  Result<> remove_breakpoint(std::uint32_t number);
  Result<> inject(const v1::InjectOperation& operation);
  Result<> take_snapshot(const std::string& name);
  Result<> await(const v1::ControlRequest& request);
  [[nodiscard]] std::optional<v1::ControlError> refuse_restore(const std::string& name) const;
  Result<> tell_stopped(std::uint32_t breakpoint, VcpuId vcpu);
  Result<> answer_outcome(std::uint64_t id);
  [[nodiscard]] bool crash_seen() const;

  ClientDriverSetup setup_;
  hypervisor::Machine& machine_;
  harness::Actions actions_;
  State state_ = State::kStopped;
  bool spent_ = false;
  bool disarmed_ = false;
  bool new_ipi_rules_ = false;
  std::optional<v1::ControlRequest> pending_;  // Needs the machine to stop, which it is about to.
  std::optional<v1::ControlRequest> restore_;
  std::map<std::uint32_t, Breakpoint> breakpoints_;
  std::optional<std::uint64_t>
      stepping_;  // The request whose steps have come to a breakpoint that was not told of yet.
  std::optional<std::uint64_t> awaiting_;  // The request that waits for the outcome.
  std::optional<harness::Nanoseconds> timeout_;
};

}  // namespace panicroom::control
