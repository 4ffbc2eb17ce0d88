#include "harness/control/connection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <span>
#include <string>
#include <utility>

#include "harness/control/frames.h"

namespace panicroom::control {
namespace {

Result<> receive_from(int socket, RequestQueue& requests) {
  FrameDecoder frames;
  std::array<std::byte, std::size_t{16} * 1024> bytes{};
  while (true) {
    const auto got = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "reading requests");
    if (got == 0) return frames.in_frame() ? Result<>(host_error("the requests end in the middle of one")) : Result<>();
    frames.feed(std::span(bytes).first(static_cast<std::size_t>(got)));
    while (const auto frame = TRY(frames.next())) {
      v1::ControlRequest request;
      if (!request.ParseFromString(*frame)) return invalid_input("a request that cannot be parsed");
      if (!requests.push(std::move(request))) return {};
    }
  }
}

}  // namespace

Result<> Connection::receive(RequestQueue& requests) {
  auto received = receive_from(socket_.get(), requests);
  requests.close();
  return received;
}

Result<> Connection::send(const v1::ControlResponse& response) {
  const auto frame = TRY(encode_frame(response));
  for (std::size_t sent = 0; sent < frame.size();) {
    const auto count = ::send(socket_.get(), frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error(ErrorKind::kCancelled, "the client is gone");
    sent += static_cast<std::size_t>(count);
  }
  return {};
}

void Connection::end() { ::shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace panicroom::control
