// Which server a command talks to, as the command line says it.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "harness/service/client.h"

namespace panicroom::cli {

struct ServerChoice {
  std::string address;                // Empty: the one with the default state directory.
  std::filesystem::path certificate;  // This client's files of mutual TLS; empty: a server that takes none.
  std::filesystem::path key;
  std::filesystem::path ca;
};

// kInvalidInput if only some of the files of TLS are named; see Client::open() for others.
Result<service::Client> connect(const ServerChoice& choice);

// All three files, or none of them. kInvalidInput names those that are missing.
Result<std::optional<service::TlsFiles>> tls_files(const std::filesystem::path& certificate,
                                                   const std::filesystem::path& key, const std::filesystem::path& ca);

}  // namespace panicroom::cli
