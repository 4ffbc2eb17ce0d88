// A QEMU with the agent in it, for the agent's own test only: no libvirt, no gdbstub, so that a defect of the engines
// is never taken for one of the agent.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/initramfs/initramfs.h"
#include "agent/protocol/frame.h"
#include "base/file.h"
#include "base/result.h"

namespace panicroom::agent {

struct GuestOptions {
  std::string kernel;  // A bzImage.
  int cpus = 2;
  std::string command_line;
  std::vector<std::byte> initramfs;
};

// Ends its QEMU when destroyed, or when the test dies.
class Guest {
 public:
  static Result<Guest> start(const GuestOptions& options);
  Guest(Guest&& other) noexcept;
  Guest& operator=(Guest&&) = delete;
  ~Guest();

  // The next message, waiting for it as long as QEMU lives; nothing at the stream's end. Counts protocol errors.
  std::optional<v1::Message> next();
  // The next message for which `is_wanted` holds. What was passed over is in messages().
  std::optional<v1::Message> wait_for(const std::function<bool(const v1::Message&)>& is_wanted);

  // A line for QEMU's human monitor.
  void monitor(const std::string& line);

  [[nodiscard]] const std::vector<v1::Message>& messages() const { return messages_; }
  [[nodiscard]] const std::vector<ProtocolError>& errors() const { return errors_; }
  [[nodiscard]] std::string console() const;

 private:
  Guest() = default;

  std::string directory_;
  pid_t pid_ = 0;
  UniqueFd agent_;
  UniqueFd monitor_;
  FrameDecoder decoder_;
  std::vector<Received> decoded_;
  std::size_t taken_ = 0;
  std::vector<v1::Message> messages_;
  std::vector<ProtocolError> errors_;
};

}  // namespace panicroom::agent
