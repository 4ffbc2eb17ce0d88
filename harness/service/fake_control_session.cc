// For tests: a program in the place of `panicroom control-session`, without a machine. It answers every request with
// `done`, but for those that tell it to be of another kind: look_up_symbol with one of the names below.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <thread>

#include "base/file.h"
#include "harness/control/connection.h"
#include "harness/control/frames.h"

namespace {

using panicroom::v1::ControlResponse;

void act(const std::string& what, panicroom::control::Connection& connection, ControlResponse& response) {
  if (what == "die") {
    std::fputs("it died\n", stderr);
    std::_Exit(7);
  }
  if (what == "garbage") {
    const std::string garbage(100, '\xff');
    static_cast<void>(!::write(STDIN_FILENO, garbage.data(), garbage.size()));
  }
  if (what == "stubborn") ::signal(SIGTERM, SIG_IGN);
  if (what == "lost") {
    response.mutable_result()->set_id(0);
    response.mutable_result()->mutable_error()->set_message("the machine was lost");
  }
  if (what == "stop") {
    ControlResponse event;
    event.mutable_event()->mutable_stopped()->set_cpu(1);
    static_cast<void>(connection.send(event).has_value());
  }
  // As many bytes as no stream's buffers hold.
  if (what == "flood") {
    ControlResponse event;
    event.mutable_event()->mutable_activity()->set_stage(std::string(std::size_t{64} * 1024, 'x'));
    for (int i = 0; i < 1000; ++i) static_cast<void>(connection.send(event).has_value());
  }
}

}  // namespace

int main() {
  using panicroom::control::Connection;
  panicroom::control::RequestQueue requests;
  Connection connection{panicroom::UniqueFd(::dup(STDIN_FILENO))};
  Connection reading{panicroom::UniqueFd(::dup(STDIN_FILENO))};
  std::jthread reader([&] { static_cast<void>(reading.receive(requests).has_value()); });
  bool stubborn = false;
  while (const auto request = requests.take()) {
    ControlResponse response;
    response.mutable_result()->set_id(request->id());
    response.mutable_result()->mutable_done();
    const auto& what = request->look_up_symbol().name();
    stubborn = stubborn || what == "stubborn";
    act(what, connection, response);
    // Waits for the outcome for ever.
    if (!request->has_await_outcome()) static_cast<void>(connection.send(response).has_value());
  }
  if (stubborn) {
    while (true) ::pause();
  }
  return 0;
}
