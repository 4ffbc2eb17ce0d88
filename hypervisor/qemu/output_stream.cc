#include "hypervisor/qemu/output_stream.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace panicroom::qemu {

Result<OutputStream> OutputStream::connect(const std::filesystem::path& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto& path = socket_path.native();
  if (path.size() >= sizeof(address.sun_path)) {
    return invalid_input("the path is too long for a unix socket: {}", path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno_error(errno, "making a socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return errno_error(errno, fmt::format("connecting to {}", path));
  }
  return OutputStream(std::move(socket));
}

std::string OutputStream::take() {
  constexpr std::size_t kChunk = 64UL * 1024;
  constexpr std::size_t kMost = 1024UL * 1024;
  std::string bytes;
  while (socket_ && bytes.size() < kMost) {
    const auto before = bytes.size();
    bytes.resize(before + kChunk);
    const auto count = ::read(socket_.get(), bytes.data() + before, kChunk);
    const int error = errno;
    bytes.resize(before + static_cast<std::size_t>(count > 0 ? count : 0));
    if (count > 0 || (count < 0 && error == EINTR)) continue;
    if (count < 0 && (error == EAGAIN || error == EWOULDBLOCK)) break;
    socket_.reset();  // QEMU has ended it: what QEMU's death means is told by others.
  }
  return bytes;
}

}  // namespace panicroom::qemu
