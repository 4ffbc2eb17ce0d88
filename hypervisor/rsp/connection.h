// A socket that speaks packets: framing, acknowledgements and deadlines over a stream socket. Knows nothing of what is
// said.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"
#include "hypervisor/rsp/packet.h"

namespace panicroom::rsp {

using Clock = std::chrono::steady_clock;

// Owned and used by one thread. After an error of any call the connection is of no use any more; all errors are kHost.
class Connection {
 public:
  // Connects to the unix-domain socket at `path`, waiting until `deadline` for it to exist and to be listened on (QEMU
  // makes it some milliseconds after its start). kInvalidInput if the path is longer than a socket address can hold.
  static Result<Connection> open(const std::filesystem::path& path, Clock::time_point deadline);
  // Takes a connected stream socket and makes it non-blocking.
  static Result<Connection> adopt(UniqueFd socket);

  [[nodiscard]] int fd() const { return socket_.get(); }

  // Acknowledge packets no more, once the peer has agreed.
  void stop_acknowledging() { acknowledge_ = false; }

  Result<> send_packet(std::string_view payload, Clock::time_point deadline);
  Result<> send_interrupt(Clock::time_point deadline);

  // The next packet's payload, acknowledged; nothing if none was complete by `deadline`. A deadline in the past takes
  // only what is there.
  Result<std::optional<std::string>> receive(Clock::time_point deadline);

 private:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}

  Result<> send(std::string_view bytes, Clock::time_point deadline);

  UniqueFd socket_;
  PacketDecoder decoder_;
  bool acknowledge_ = true;
};

}  // namespace panicroom::rsp
