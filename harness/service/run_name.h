// Names of the service's resources: "runs/17", "runs/17/artifacts/report.json".
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace panicroom::service {

// A run's number, from 1; later runs have greater ones.
enum class RunId : std::int64_t {};
constexpr std::int64_t number(RunId id) { return static_cast<std::int64_t>(id); }

std::string run_name(RunId id);
// Nothing if the text is no run's name.
std::optional<RunId> parse_run_name(std::string_view name);

struct ArtifactName {
  RunId run{};
  std::filesystem::path path;  // Below the run's folder: see is_plain_path().
};
std::string artifact_name(RunId run, const std::filesystem::path& path);
std::optional<ArtifactName> parse_artifact_name(std::string_view name);

// True for a relative path that cannot lead out of its folder and says nothing to a shell or terminal: parts of
// letters, digits, '.', '-', '_', '+', '~' and ':', each beginning with a letter, a digit or '_', at most 16 of them
// and 400 bytes.
bool is_plain_path(std::string_view text);

}  // namespace panicroom::service
