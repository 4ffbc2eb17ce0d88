// A session's socket in a stranger's hands: whatever comes, every request is answered once, nothing is set in the
// machine that is not taken out again, and nothing grows without bounds.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/testing/require.h"
#include "harness/control/fake_session.h"
#include "harness/control/frames.h"
#include "harness/control/words.h"

namespace panicroom::control {
namespace {

// As the trial's loop has it, with a machine to which nothing happens.
void drive(FakeSession& session, const v1::ControlRequest& request) {
  session.requests.push(request);
  ClientDriver& driver = *session.driver;
  // What has the machine stopped already is answered there, and so is what lets it go on.
  const auto stop = driver.on_cancelled();
  require(stop.has_value());
}

void try_session(std::span<const std::byte> sent) {
  FrameDecoder frames;
  frames.feed(sent);
  FakeSession session;
  std::size_t asked = 0;
  while (asked < RequestQueue::kMostWaiting - 2) {
    const auto frame = frames.next();
    if (!frame || !*frame) break;
    v1::ControlRequest request;
    if (!request.ParseFromString(**frame)) break;
    if (request.has_open()) {
      const auto opened = read_open(request.open());
      require(!opened.mistakes.empty() || (opened.scenario.machine.vcpus >= 1 && opened.scenario.machine.vcpus <= 64));
      require(!opened.mistakes.empty() || opened.scenario.workload.size() == opened.scenario.machine.vcpus);
    }
    drive(session, request);
    ++asked;
  }
  // The machine stands still at first; the last one ends the trial, whatever the others have done.
  v1::ControlRequest last;
  last.set_id(1);
  last.mutable_restore_snapshot();
  session.requests.push(last);
  while (true) {
    const auto go_on = session.driver->before_resume();
    require(go_on.has_value());
    if (!*go_on) break;
    require(session.driver->on_cancelled().has_value());
  }
  require(session.machine.breakpoints.size() <= std::size_t{64} * 64);
  require(session.driver->disarm().has_value());
  require(session.machine.breakpoints.empty());
  require(session.snapshots.size() <= 4);
  while (session.driver->after_trial(false)) {
    // Those that came behind the one that ended the trial.
    session.requests.close();
  }
}

}  // namespace
}  // namespace panicroom::control

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  panicroom::control::try_session(std::as_bytes(std::span(data, size)));
  return 0;
}
