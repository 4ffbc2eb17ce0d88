#include "harness/scenario/parser.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "harness/scenario/dump_reader.h"
#include "harness/scenario/expectation_reader.h"
#include "harness/scenario/fields.h"
#include "harness/scenario/machine_reader.h"
#include "harness/scenario/timeline_reader.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxName = 100;
constexpr std::size_t kMaxFiles = 10'000;
constexpr std::array<std::string_view, 13> kScenarioKeys = {"name",     "summary",  "refs",   "machine", "kernel",
                                                            "workload", "stop_ipi", "unfix",  "dump",    "requires",
                                                            "timeline", "expect",   "timeout"};

// The names of all scenarios that one call has come across, with where each was first.
using SeenNames = std::map<std::string, std::string, std::less<>>;

// Names become folders, domain names and test names.
bool is_name(std::string_view text) {
  const auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !text.empty() && text.size() <= kMaxName && alphanumeric(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return alphanumeric(c) || c == '-' || c == '.'; });
}

std::string read_name(const YamlNode& node, const fs::path& file, SeenNames& seen, Diagnostics& diagnostics) {
  const auto text = read_text(node, "name", diagnostics);
  if (!text) return "";
  if (!is_name(*text)) {
    diagnostics.add(node.at, "'name': {} is not a name: up to {} letters, digits, '-' and '.', the first no sign",
                    shown(*text), kMaxName);
    return "";
  }
  const auto [first, fresh] = seen.emplace(*text, fmt::format("{}:{}", file.string(), node.at.line));
  if (!fresh) diagnostics.add(node.at, "'name': there is a scenario {} already, in {}", shown(*text), first->second);
  return *text;
}

std::vector<std::string> read_refs(const YamlNode& node, Diagnostics& diagnostics) {
  std::vector<std::string> refs;
  for (const YamlNode& item : read_list(node, "refs", "[93e13a360ba3]", diagnostics)) {
    if (auto text = read_text(item, "refs", diagnostics)) refs.push_back(*std::move(text));
  }
  return refs;
}

Scenario read_scenario(const YamlNode& node, const fs::path& file, SeenNames& seen, Diagnostics& diagnostics) {
  Scenario scenario;
  scenario.file = file;
  const Fields fields(node, "the scenario", kScenarioKeys, diagnostics);
  if (const auto* name = fields.require("name")) scenario.name = read_name(*name, file, seen, diagnostics);
  if (const auto* summary = fields.find("summary")) {
    scenario.summary = read_text(*summary, "summary", diagnostics).value_or("");
  }
  if (const auto* refs = fields.find("refs")) scenario.refs = read_refs(*refs, diagnostics);
  if (const auto* machine = fields.find("machine")) scenario.machine = read_machine(*machine, diagnostics);
  const std::uint32_t vcpus = scenario.machine.vcpus;
  if (const auto* kernel = fields.find("kernel")) scenario.kernel_cmdline = read_kernel(*kernel, diagnostics);
  scenario.workload.assign(vcpus, std::string(kDefaultWorkload));
  if (const auto* workload = fields.find("workload")) {
    scenario.workload = read_workload(*workload, vcpus, diagnostics);
  }
  if (const auto* policy = fields.find("stop_ipi")) scenario.stop_ipi = read_stop_ipi(*policy, vcpus, diagnostics);
  if (const auto* unfix = fields.find("unfix")) scenario.unfix = read_unfix(*unfix, diagnostics);
  if (const auto* required = fields.find("requires")) scenario.requires_ = read_requires(*required, diagnostics);
  if (const auto* timeout = fields.find("timeout")) {
    scenario.timeout = read_duration(*timeout, "timeout", diagnostics).value_or(scenario.timeout);
  }
  std::vector<ReadStep> steps;
  if (const auto* timeline = fields.require("timeline")) {
    steps = read_timeline(*timeline, vcpus, diagnostics);
    check_order(steps, vcpus, diagnostics);
  }
  if (const auto* expect = fields.require("expect")) {
    scenario.expect = read_expectation(*expect, vcpus, steps, diagnostics);
  }
  if (const auto* dump = fields.find("dump")) {
    const bool known = fields.find("expect") != nullptr;
    scenario.save_dump = read_dump(*dump, known ? std::optional(scenario.expect.outcome) : std::nullopt, diagnostics);
  }
  for (const ReadStep& step : steps) {
    if (step.cpu && step.at && step.action) scenario.timeline.push_back(to_step(step));
  }
  return scenario;
}

void append(ParseResult part, ParseResult& whole) {
  std::ranges::move(part.scenarios, std::back_inserter(whole.scenarios));
  std::ranges::move(part.diagnostics, std::back_inserter(whole.diagnostics));
}

ParseResult parse_text(std::string_view text, const fs::path& file, SeenNames& seen) {
  ParseResult result;
  Diagnostics diagnostics(file.string());
  const auto documents = read_documents(text, diagnostics);
  if (documents.empty() && diagnostics.count() == 0) diagnostics.add({}, "no scenario in this file");
  const std::size_t syntax_mistakes = diagnostics.count();
  for (const YamlNode& document : documents) {
    const std::size_t mistakes = diagnostics.count();
    Scenario scenario = read_scenario(document, file, seen, diagnostics);
    // A mistake that was found while the tree was built (an alias, a tag) may be anywhere in the file.
    if (syntax_mistakes == 0 && diagnostics.count() == mistakes) result.scenarios.push_back(std::move(scenario));
  }
  result.diagnostics = std::move(diagnostics).take();
  return result;
}

// --- Files.

Diagnostic about(const fs::path& path, std::string message) {
  return {.file = path.string(), .message = std::move(message)};
}

bool is_scenario_file(const fs::path& path) { return path.extension() == ".yaml" || path.extension() == ".yml"; }

// The scenario files below a folder, sorted. Links to folders are not followed, so there are no loops.
std::vector<fs::path> files_below(const fs::path& folder, std::vector<Diagnostic>& diagnostics) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored) && is_scenario_file(it->path())) files.push_back(it->path());
    if (files.size() > kMaxFiles) {
      diagnostics.push_back(about(folder, fmt::format("more than {} scenario files below this folder", kMaxFiles)));
      return {};
    }
  }
  if (error) {
    diagnostics.push_back(about(folder, fmt::format("cannot be listed: {}", error.message())));
  } else if (files.empty()) {
    diagnostics.push_back(about(folder, "no scenario (*.yaml or *.yml) below this folder"));
  }
  std::ranges::sort(files);
  return files;
}

std::vector<fs::path> files_of(const fs::path& path, std::vector<Diagnostic>& diagnostics) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    const bool missing = status.type() == fs::file_type::not_found;
    diagnostics.push_back(about(path, missing ? "no such file or folder" : error.message()));
    return {};
  }
  if (fs::is_directory(status)) return files_below(path, diagnostics);
  if (fs::is_regular_file(status)) return {path};
  diagnostics.push_back(about(path, "neither a file nor a folder"));
  return {};
}

ParseResult load_file(const fs::path& file, SeenNames& seen) {
  ParseResult result;
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  // Before reading: the file may be anything, and huge.
  if (!error && size > kMaxFileBytes) {
    result.diagnostics.push_back(about(file, fmt::format("larger than {} KiB: not a scenario", kMaxFileBytes / 1024)));
    return result;
  }
  const auto text = read_text_file(file);
  if (!text) {
    result.diagnostics.push_back(about(file, text.error().message()));
    return result;
  }
  return parse_text(*text, file, seen);
}

}  // namespace

ParseResult parse(std::string_view text, const fs::path& file) {
  SeenNames seen;
  return parse_text(text, file, seen);
}

ParseResult load(std::span<const fs::path> paths) {
  ParseResult result;
  SeenNames seen;
  std::set<fs::path> loaded;
  for (const fs::path& path : paths) {
    for (const fs::path& file : files_of(path, result.diagnostics)) {
      std::error_code error;
      const fs::path canonical = fs::canonical(file, error);
      if (!error && !loaded.insert(canonical).second) continue;
      append(load_file(file, seen), result);
    }
  }
  return result;
}

}  // namespace panicroom::harness
