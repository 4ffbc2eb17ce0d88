// Where a server may listen.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace panicroom::service {

struct ListenAddress {
  std::string target;            // As gRPC takes it.
  std::filesystem::path socket;  // Empty: a TCP port.
  bool loopback = false;         // A TCP port that only this host reaches.
};

// "unix:PATH", or "HOST:PORT" with an address or a name, IPv6 in brackets. kInvalidInput for all else.
Result<ListenAddress> parse_listen_address(std::string_view text);

}  // namespace panicroom::service
