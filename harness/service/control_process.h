// The process that has a session's machine, and the messages to and from it. It reads hostile guests: nothing that
// comes from it is taken without bounds.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "harness/control/frames.h"
#include "harness/service/child_process.h"
#include "panicroom/v1/control.pb.h"

namespace panicroom::service {

// Owned by the thread that made it, which has to outlive the process.
class ControlProcess {
 public:
  // `program` with `control-session` behind it. `folder`, which is removed at the end, is made below `parent`.
  static Result<ControlProcess> start(const std::vector<std::string>& program, const std::filesystem::path& parent);
  ControlProcess(ControlProcess&& other) noexcept;
  ControlProcess& operator=(ControlProcess&&) = delete;
  // Kills it if end() was not called.
  ~ControlProcess();

  // For poll(2).
  [[nodiscard]] int socket() const { return socket_.get(); }

  // Queues a request. kInvalidInput if it is too large.
  Result<> send(const v1::ControlRequest& request);
  // Something of a request is still to be sent: flush() wants to be called when the socket is writable.
  [[nodiscard]] bool sending() const { return !unsent_.empty(); }
  Result<> flush();

  // Takes what the socket has; false: nothing more will come.
  Result<bool> fill();
  // The next response that has come. An error: it is none.
  Result<std::optional<v1::ControlResponse>> next();

  struct End {
    bool orderly = false;  // By itself or when it was told to. If not, its guest may be left.
    std::string how;       // For people.
  };
  // Ends it and its guest: SIGTERM, and after `grace` SIGKILL.
  End end(std::chrono::seconds grace);

 private:
  ControlProcess(ChildProcess process, UniqueFd socket, std::filesystem::path folder)
      : process_(std::move(process)), socket_(std::move(socket)), folder_(std::move(folder)) {}

  std::optional<ChildProcess> process_;
  UniqueFd socket_;
  std::filesystem::path folder_;
  std::string unsent_;
  control::FrameDecoder frames_;
};

}  // namespace panicroom::service
