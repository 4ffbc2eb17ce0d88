#include "hypervisor/rsp/connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace panicroom::rsp {
namespace {

// What one receive() takes from the socket at most when it may not wait: a peer that never stops sending must not keep
// it.
constexpr int kMaxReadsPastDeadline = 16;
// A socket file that is not there yet is looked for this often. There is nothing to wait on without watching the
// folder.
constexpr std::chrono::milliseconds kConnectRetry{5};
// poll() counts in an int.
constexpr std::chrono::milliseconds kLongestPoll{60'000};

// Waits for `events`; false if the deadline came first.
Result<bool> wait_for(int fd, short events, Clock::time_point deadline) {
  while (true) {
    const auto now = Clock::now();
    std::chrono::milliseconds left{0};
    if (deadline > now) left = std::min(std::chrono::ceil<std::chrono::milliseconds>(deadline - now), kLongestPoll);
    pollfd poll_fd{fd, events, 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return errno_error(errno, "waiting for the gdb socket");
    if (Clock::now() >= deadline) return false;
  }
}

}  // namespace

Result<Connection> Connection::open(const std::filesystem::path& path, Clock::time_point deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof(address.sun_path)) {
    return invalid_input("the gdb socket's path {} is longer than the {} bytes that a socket address holds",
                         path.native(), sizeof(address.sun_path) - 1);
  }
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  while (true) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return errno_error(errno, "making a socket");
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return Connection(std::move(socket));
    }
    const int error = errno;
    // EAGAIN: the listener's queue is full.
    const bool may_pass = error == ENOENT || error == ECONNREFUSED || error == EAGAIN || error == EINTR;
    if (!may_pass || Clock::now() >= deadline) {
      return errno_error(error, fmt::format("connecting to the gdb socket {}", path.native()));
    }
    ::poll(nullptr, 0, static_cast<int>(kConnectRetry.count()));
  }
}

Result<Connection> Connection::adopt(UniqueFd socket) {
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) < 0) {
    return errno_error(errno, "making the gdb socket non-blocking");
  }
  return Connection(std::move(socket));
}

Result<> Connection::send(std::string_view bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!TRY(wait_for(socket_.get(), POLLOUT, deadline))) {
        return host_error("the gdbstub takes no more bytes: QEMU hangs");
      }
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return host_error("the gdb socket is closed: QEMU has ended or let go of it");
    } else if (errno != EINTR) {
      return errno_error(errno, "writing to the gdb socket");
    }
  }
  return {};
}

Result<> Connection::send_packet(std::string_view payload, Clock::time_point deadline) {
  return send(encode_packet(payload), deadline);
}

Result<> Connection::send_interrupt(Clock::time_point deadline) {
  return send(std::string_view(&kInterrupt, 1), deadline);
}

Result<std::optional<std::string>> Connection::receive(Clock::time_point deadline) {
  int reads_past_deadline = 0;
  while (true) {
    while (auto event = TRY(decoder_.next())) {
      using Kind = PacketDecoder::Event::Kind;
      if (event->kind == Kind::kAck) continue;
      // A stream socket corrupts nothing, so sending it again would not help.
      if (event->kind == Kind::kNack) return host_error("the gdbstub refused a packet's checksum ('-')");
      if (acknowledge_) TRY(send("+", std::max(deadline, Clock::now() + std::chrono::seconds(1))));
      return std::optional(std::move(event->payload));
    }
    std::array<char, 16384> buffer;
    const auto got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
      decoder_.feed({buffer.data(), static_cast<std::size_t>(got)});
      if (Clock::now() >= deadline && ++reads_past_deadline == kMaxReadsPastDeadline)
        return std::optional<std::string>();
    } else if (got == 0 || errno == ECONNRESET) {
      return host_error("the gdb socket is closed: QEMU has ended or let go of it");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!TRY(wait_for(socket_.get(), POLLIN, deadline))) return std::optional<std::string>();
    } else if (errno != EINTR) {
      return errno_error(errno, "reading from the gdb socket");
    }
  }
}

}  // namespace panicroom::rsp
