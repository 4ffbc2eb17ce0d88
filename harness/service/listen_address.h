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
};

// "unix:PATH", or a loopback address with a port: "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT". kInvalidInput for
// all else: there is nothing yet that would keep strangers out.
Result<ListenAddress> parse_listen_address(std::string_view text);

}  // namespace panicroom::service
