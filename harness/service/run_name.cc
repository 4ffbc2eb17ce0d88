#include "harness/service/run_name.h"

#include <fmt/format.h>

#include <charconv>

namespace panicroom::service {
namespace {

constexpr std::string_view kRuns = "runs/";
constexpr std::string_view kArtifacts = "/artifacts/";

bool alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_plain_part(std::string_view part) {
  if (part.empty() || !alphanumeric(part.front())) return false;
  for (const char c : part) {
    if (!alphanumeric(c) && std::string_view(".-+~:").find(c) == std::string_view::npos) return false;
  }
  return true;
}

}  // namespace

std::string run_name(RunId id) { return fmt::format("{}{}", kRuns, number(id)); }

std::optional<RunId> parse_run_name(std::string_view name) {
  if (!name.starts_with(kRuns)) return std::nullopt;
  name.remove_prefix(kRuns.size());
  // One name for each run: no sign, no leading zero.
  if (name.empty() || name.front() < '1' || name.front() > '9') return std::nullopt;
  std::int64_t value = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) return std::nullopt;
  return RunId(value);
}

std::string artifact_name(RunId run, const std::filesystem::path& path) {
  return run_name(run) + std::string(kArtifacts) + path.generic_string();
}

std::optional<ArtifactName> parse_artifact_name(std::string_view name) {
  const auto at = name.find(kArtifacts);
  if (at == std::string_view::npos) return std::nullopt;
  const auto run = parse_run_name(name.substr(0, at));
  const auto path = name.substr(at + kArtifacts.size());
  if (!run || !is_plain_path(path)) return std::nullopt;
  return ArtifactName{.run = *run, .path = path};
}

bool is_plain_path(std::string_view text) {
  constexpr std::size_t kMaxBytes = 400;
  constexpr int kMaxParts = 16;
  if (text.size() > kMaxBytes) return false;
  for (int parts = 1; parts <= kMaxParts; ++parts) {
    const auto slash = text.find('/');
    if (!is_plain_part(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
  return false;
}

}  // namespace panicroom::service
