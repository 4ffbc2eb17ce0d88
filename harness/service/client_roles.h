// Which clients may do what: the operator's file.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace panicroom::service {

// Whoever comes through a unix socket or a loopback port without TLS. No certificate has this name here.
inline constexpr const char* kLocalIdentity = "local";

// Each may do what those before it may.
enum class Role {
  kView,     // See runs, their events and files, the host and its kernels.
  kRun,      // Start runs, and cancel those of its own.
  kControl,  // Cancel every run, and drive a machine.
};
std::string_view role_name(Role role);

// YAML: a map `clients` from the identity in a client's certificate to its role. Identities are those that the
// certificate's subject alternative names give (DNS name, URI, address), or, if it has none, its common name.
//
//   clients:
//     ci.example.org: run
//     spiffe://lab.example.org/qa: control
class ClientRoles {
 public:
  // `file` is for messages. kInvalidInput with file, line and column for what is no such map, an unknown key or role,
  // or an identity that stands twice or is kLocalIdentity. The file is the operator's, and bounded all the same: at
  // most 1 MiB.
  static Result<ClientRoles> parse(const std::string& yaml, const std::string& file);
  static Result<ClientRoles> load(const std::filesystem::path& path);

  // Nothing for an identity that is not in the file: such a client may do nothing.
  [[nodiscard]] std::optional<Role> role_of(const std::string& identity) const;

 private:
  std::map<std::string, Role> roles_;
};

}  // namespace panicroom::service
