// `panicroom control-session`: the process of one session of interactive control. For the service alone: requests come
// and responses go on the socket that is its standard input.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/cli/kernel_choice.h"
#include "harness/cli/signals.h"
#include "harness/control/connection.h"
#include "harness/control/session.h"
#include "harness/session/machine_folder.h"

namespace panicroom::cli {
namespace {

Result<> serve_session(const std::filesystem::path& logs) {
  UniqueFd socket(::dup(STDIN_FILENO));
  int type = 0;
  socklen_t size = sizeof(type);
  if (!socket || ::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    return invalid_input("standard input is no socket: this command is the service's own");
  }
  harness::Cancellation cancellation;
  control::RequestQueue requests;
  const SignalWatcher signals(
      [&](int) {
        cancellation.request();
        requests.close();
      },
      "ending the session's guest", SignalWatcher::Again::kIgnore);
  const auto machines = TRY(harness::MachineFolder::make(TRY(kernels::default_cache_dir()) / "machines"));
  control::Connection connection(std::move(socket));
  Result<> received;
  std::jthread reader([&] {
    received = connection.receive(requests);
    cancellation.request();
  });
  const control::SessionOptions options{
      .load_kernel = [](const std::string& reference,
                        const harness::StageSink& on_stage) -> Result<std::shared_ptr<const kernels::KernelImage>> {
        const auto ref =
            reference.empty() ? TRY(kernels::default_reference()) : TRY(kernels::KernelRef::parse(reference));
        return load_kernel(ref, on_stage);
      },
      .make_engine =
          [](const std::string& wanted) {
            v1::Host host;
            return harness::make_engine(wanted, host);
          },
      .directory = machines.path(),
      .logs = logs,
  };
  auto ended = control::run_session(
      options, requests, [&](const v1::ControlResponse& response) { return connection.send(response); }, cancellation);
  if (!ended) {
    // The number is no request's: the service ends the stream with this.
    [[maybe_unused]] const auto told = connection.send(control::error_response(0, control::to_proto(ended.error())));
  }
  connection.end();
  reader.join();
  TRY(ended);
  return received;
}

}  // namespace

int control_session(const std::filesystem::path& logs) {
  const auto served = serve_session(logs);
  return served ? kSuccess : fail(served.error());
}

}  // namespace panicroom::cli
