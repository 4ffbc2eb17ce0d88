#include "harness/service/client_roles.h"

#include <yaml-cpp/yaml.h>

#include "base/file.h"

namespace panicroom::service {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;

std::optional<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::kView, Role::kRun, Role::kControl}) {
    if (text == role_name(role)) return role;
  }
  return std::nullopt;
}

template <typename... Args>
Error wrong(const std::string& file, const YAML::Mark& mark, fmt::format_string<Args...> format, Args&&... args) {
  const auto what = fmt::format(format, std::forward<Args>(args)...);
  return invalid_input("{}:{}:{}: error: {}", file, mark.line + 1, mark.column + 1, what);
}

}  // namespace

std::string_view role_name(Role role) {
  switch (role) {
    case Role::kView:
      return "view";
    case Role::kRun:
      return "run";
    case Role::kControl:
      return "control";
  }
  return "none";
}

Result<ClientRoles> ClientRoles::parse(const std::string& yaml, const std::string& file) {
  if (yaml.size() > kMaxFileBytes) return invalid_input("{}: more than {} bytes", file, kMaxFileBytes);
  ClientRoles roles;
  // yaml-cpp tells of mistakes by exceptions; they end here.
  try {
    const auto root = YAML::Load(yaml);
    if (!root.IsMap()) return wrong(file, root.Mark(), "not a map with the key clients");
    for (const auto& entry : root) {
      const auto key = entry.first.as<std::string>();
      if (key != "clients") return wrong(file, entry.first.Mark(), "unknown key '{}', the only one is clients", key);
      if (!entry.second.IsMap())
        return wrong(file, entry.second.Mark(), "clients is not a map from identities to roles");
      for (const auto& client : entry.second) {
        const auto identity = client.first.as<std::string>();
        if (identity.empty()) return wrong(file, client.first.Mark(), "an identity that is empty");
        if (identity == kLocalIdentity) {
          return wrong(file, client.first.Mark(), "{} is the name of those who come without TLS", identity);
        }
        if (!client.second.IsScalar()) return wrong(file, client.second.Mark(), "the role of {} is no word", identity);
        const auto role = parse_role(client.second.Scalar());
        if (!role) {
          return wrong(file, client.second.Mark(), "'{}' is no role: view, run or control", client.second.Scalar());
        }
        if (!roles.roles_.emplace(identity, *role).second) {
          return wrong(file, client.first.Mark(), "{} stands twice", identity);
        }
      }
    }
  } catch (const YAML::Exception& exception) {
    return wrong(file, exception.mark, "{}", exception.msg);
  }
  if (roles.roles_.empty()) return invalid_input("{}: names no clients", file);
  return roles;
}

Result<ClientRoles> ClientRoles::load(const std::filesystem::path& path) {
  return parse(TRY(read_text_file(path)), path.native());
}

std::optional<Role> ClientRoles::role_of(const std::string& identity) const {
  const auto found = roles_.find(identity);
  if (found == roles_.end()) return std::nullopt;
  return found->second;
}

}  // namespace panicroom::service
