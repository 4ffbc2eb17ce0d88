#include "harness/service/listen_address.h"

#include <algorithm>
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
    return ListenAddress{.target = std::string(text), .socket = path, .loopback = false};
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return invalid_input("{} is no address: unix:PATH or HOST:PORT", text);
  const auto host = text.substr(0, colon);
  const auto port = text.substr(colon + 1);
  std::uint16_t number = 0;
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size()) {
    return invalid_input("{}: '{}' is no port", text, port);
  }
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const auto name = bracketed ? host.substr(1, host.size() - 2) : host;
  const auto allowed = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           (bracketed && c == ':');
  };
  if (name.empty() || !std::ranges::all_of(name, allowed)) return invalid_input("{}: '{}' is no host", text, host);
  return ListenAddress{.target = std::string(text),
                       .socket = {},
                       .loopback = host == "127.0.0.1" || host == "[::1]" || host == "localhost"};
}

}  // namespace panicroom::service
