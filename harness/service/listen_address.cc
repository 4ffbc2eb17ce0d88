#include "harness/service/listen_address.h"

#include <charconv>
#include <cstdint>

namespace panicroom::service {
namespace {

// sun_path of a unix socket, with its zero.
constexpr std::size_t kMaxSocketPath = 107;

}  // namespace

Result<ListenAddress> parse_listen_address(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) {
    const std::filesystem::path path(text.substr(kUnix.size()));
    if (path.empty()) return invalid_input("{}: names no socket", text);
    if (path.native().size() > kMaxSocketPath) {
      return invalid_input("{}: the path of a unix socket has at most {} bytes", text, kMaxSocketPath);
    }
    return ListenAddress{.target = std::string(text), .socket = path};
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return invalid_input("{} is no address: unix:PATH, 127.0.0.1:PORT or [::1]:PORT", text);
  }
  const auto host = text.substr(0, colon);
  const auto port = text.substr(colon + 1);
  std::uint16_t number = 0;
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size()) {
    return invalid_input("{}: '{}' is no port", text, port);
  }
  if (host != "127.0.0.1" && host != "[::1]" && host != "localhost") {
    return invalid_input(
        "{}: this version listens on unix sockets and loopback addresses only, because clients are not authenticated; "
        "ssh -L carries either to another host",
        text);
  }
  return ListenAddress{.target = std::string(text), .socket = {}};
}

}  // namespace panicroom::service
