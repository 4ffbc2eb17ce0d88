#include "harness/scenario/parser.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

#include "agent/protocol/workloads.h"
#include "base/file.h"
#include "harness/scenario/dump_reader.h"
#include "harness/scenario/expectation_reader.h"
#include "harness/scenario/fields.h"
#include "harness/scenario/machine_reader.h"
#include "harness/scenario/matrix.h"
#include "harness/scenario/selection.h"
#include "harness/scenario/timeline_reader.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxName = 100;
constexpr std::size_t kMaxFiles = 10'000;
// Mistakes of one document after which no more of its combinations are read.
constexpr std::size_t kMaxMistakes = 100;
constexpr std::array<std::string_view, 16> kScenarioKeys = {
    "name",     "tier",     "summary", "refs", "matrix",   "machine",  "from",   "kernel",
    "workload", "stop_ipi", "unfix",   "dump", "requires", "timeline", "expect", "timeout"};
// In the order of From.
constexpr std::array<std::string_view, 2> kFrom = {"armed", "boot"};

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

// Where a scenario comes from.
struct Origin {
  const fs::path& file;
  std::string combination;  // Of its document's matrix; empty if there is none.
};

std::string read_name(const YamlNode& node, const Origin& origin, SeenNames& seen, Diagnostics& diagnostics) {
  const auto text = read_text(node, "name", diagnostics);
  if (!text) return "";
  if (!is_name(*text)) {
    diagnostics.add(node.at, "'name': {} is not a name: up to {} letters, digits, '-' and '.', the first no sign",
                    shown(*text), kMaxName);
    return "";
  }
  std::string place = fmt::format("{}:{}", origin.file.string(), node.at.line);
  if (!origin.combination.empty()) place += fmt::format(" ({})", origin.combination);
  const auto [first, fresh] = seen.emplace(*text, std::move(place));
  if (!fresh) diagnostics.add(node.at, "'name': there is a scenario {} already, in {}", shown(*text), first->second);
  return *text;
}

std::string read_tier(const YamlNode& node, Diagnostics& diagnostics) {
  const auto text = read_text(node, "tier", diagnostics);
  if (!text) return "";
  if (!is_name(*text) || *text == kDefaultTier || *text == kAllTiers) {
    diagnostics.add(node.at,
                    "'tier': {} is not a name for a tier: up to {} letters, digits, '-' and '.', and not {} or {}",
                    shown(*text), kMaxName, kDefaultTier, kAllTiers);
    return "";
  }
  return *text;
}

std::vector<std::string> read_refs(const YamlNode& node, Diagnostics& diagnostics) {
  std::vector<std::string> refs;
  for (const YamlNode& item : read_list(node, "refs", "[93e13a360ba3]", diagnostics)) {
    if (auto text = read_text(item, "refs", diagnostics)) refs.push_back(*std::move(text));
  }
  return refs;
}

// A workload that passes no place of the kernel has none that a step could wait for.
void check_workload_points(const std::vector<ReadStep>& steps, const std::vector<std::string>& workload,
                           Diagnostics& diagnostics) {
  for (const ReadStep& step : steps) {
    if (!step.cpu || !step.at || !std::holds_alternative<AtWorkload>(*step.at)) continue;
    const std::string& name = workload[index(*step.cpu)];
    const auto* known = agent::find_workload(name);
    if (known == nullptr || !agent::point_symbol(*known, *step.cpu).empty()) continue;
    diagnostics.add(step.at_at,
                    "CPU {}'s workload '{}' stays in user mode and passes no 'workload': name a place that "
                    "an interrupt leads to, or none",
                    index(*step.cpu), name);
  }
}

// Where the pages are by which a workload is started, the agent tells when it is armed.
void check_starts(const std::vector<ReadStep>& steps, From from, Diagnostics& diagnostics) {
  if (from == From::kArmed) return;
  for (const ReadStep& step : steps) {
    if (step.action_word != "start") continue;
    diagnostics.add(step.action_at, "'start' needs a trial that begins armed: this one is 'from: boot'");
  }
}

// `deciding`: see ReadExpectations; gathered over the combinations of a document.
Scenario read_scenario(const YamlNode& node, const Origin& origin, SeenNames& seen, std::set<Position>& deciding,
                       Diagnostics& diagnostics) {
  Scenario scenario;
  scenario.file = origin.file;
  const Fields fields(node, "the scenario", kScenarioKeys, diagnostics);
  if (const auto* name = fields.require("name")) scenario.name = read_name(*name, origin, seen, diagnostics);
  if (const auto* tier = fields.find("tier")) scenario.tier = read_tier(*tier, diagnostics);
  if (const auto* summary = fields.find("summary")) {
    scenario.summary = read_text(*summary, "summary", diagnostics).value_or("");
  }
  if (const auto* refs = fields.find("refs")) scenario.refs = read_refs(*refs, diagnostics);
  if (const auto* machine = fields.find("machine")) scenario.machine = read_machine(*machine, diagnostics);
  const std::uint32_t vcpus = scenario.machine.vcpus;
  if (const auto* from = fields.find("from")) {
    scenario.from = static_cast<From>(read_word(*from, "from", kFrom, diagnostics).value_or(0));
  }
  if (const auto* kernel = fields.find("kernel")) scenario.kernel_cmdline = read_kernel(*kernel, diagnostics);
  scenario.workload.assign(vcpus, std::string(kDefaultWorkload));
  if (const auto* workload = fields.find("workload")) {
    scenario.workload = read_workload(*workload, vcpus, diagnostics);
  }
  if (const auto* policy = fields.find("stop_ipi")) {
    const auto* timeline = fields.find("timeline");
    const std::size_t steps = timeline != nullptr ? timeline->items.size() : 0;
    scenario.stop_ipi = read_stop_ipi(*policy, vcpus, steps, diagnostics);
  }
  if (const auto* unfix = fields.find("unfix")) scenario.unfix = read_unfix(*unfix, diagnostics);
  if (const auto* required = fields.find("requires")) scenario.requires_ = read_requires(*required, diagnostics);
  if (const auto* timeout = fields.find("timeout")) {
    scenario.timeout = read_duration(*timeout, "timeout", diagnostics).value_or(scenario.timeout);
  }
  std::vector<ReadStep> steps;
  if (const auto* timeline = fields.require("timeline")) {
    steps = read_timeline(*timeline, vcpus, diagnostics);
    check_order(steps, vcpus, diagnostics);
    check_workload_points(steps, scenario.workload, diagnostics);
    check_starts(steps, scenario.from, diagnostics);
  }
  if (const auto* expect = fields.require("expect")) {
    auto read = read_expectations(*expect, vcpus, steps, scenario.requires_.kernel, diagnostics);
    scenario.expect = std::move(read.rows);
    deciding.merge(read.deciding);
  }
  if (const auto* dump = fields.find("dump")) {
    // A dump on some kernel is enough to save one.
    const auto dumps = std::ranges::find_if(
        scenario.expect, [](const KernelExpectation& row) { return has_dump(row.expectation.outcome); });
    std::optional<Outcome> outcome;
    if (dumps != scenario.expect.end()) {
      outcome = dumps->expectation.outcome;
    } else if (fields.find("expect") != nullptr && !scenario.expect.empty()) {
      outcome = scenario.expect.front().expectation.outcome;
    }
    scenario.save_dump = read_dump(*dump, outcome, diagnostics);
  }
  for (const ReadStep& step : steps) {
    if (step.cpu && step.at && step.action) scenario.timeline.push_back(to_step(step));
  }
  return scenario;
}

// The mistakes of a document's combinations, each told once and, if not all have it, with the first that has.
class CombinedMistakes {
 public:
  void add(std::vector<Diagnostic> mistakes, const std::string& combination) {
    ++combinations_;
    for (Diagnostic& mistake : mistakes) {
      const auto [known, fresh] = index_.try_emplace({mistake.line, mistake.column, mistake.message}, found_.size());
      if (fresh) found_.push_back({.mistake = std::move(mistake), .combination = combination});
      ++found_[known->second].times;
    }
  }
  [[nodiscard]] std::size_t count() const { return found_.size(); }
  void report(Diagnostics& diagnostics) const {
    for (const Found& found : found_) {
      const Position at{.line = found.mistake.line, .column = found.mistake.column};
      diagnostics.add(at, "{}{}", found.mistake.message,
                      found.times == combinations_ ? "" : fmt::format(" (in {})", found.combination));
    }
  }

 private:
  struct Found {
    Diagnostic mistake;
    std::string combination;
    std::size_t times = 0;
  };
  std::vector<Found> found_;
  std::map<std::tuple<int, int, std::string>, std::size_t> index_;
  std::size_t combinations_ = 0;
};

void check_rows(const YamlNode& document, const std::set<Position>& deciding, Diagnostics& diagnostics) {
  for (std::size_t i = 0; i < document.items.size(); ++i) {
    const YamlNode& item = document.items[i];
    if (document.keys[i].text != "expect" || item.kind != YamlNode::Kind::kSequence) continue;
    for (const YamlNode& row : item.items) {
      if (deciding.contains(row.at)) continue;
      diagnostics.add(row.at, "this row never decides: the rows before it match all that it matches");
    }
  }
}

// One scenario, or as many as the document's matrix has combinations; those of them that have no mistake.
std::vector<Scenario> read_document(const YamlNode& document, const fs::path& file, SeenNames& seen,
                                    Diagnostics& diagnostics) {
  std::vector<Combination> combinations;
  if (has_matrix(document)) {
    combinations = expand(document, diagnostics);
  } else {
    combinations.push_back({.text = {}, .document = document});
  }
  std::vector<Scenario> scenarios;
  CombinedMistakes mistakes;
  std::set<Position> deciding;
  for (const Combination& combination : combinations) {
    Diagnostics own(file.string());
    const Origin origin{.file = file, .combination = combination.text};
    Scenario scenario = read_scenario(combination.document, origin, seen, deciding, own);
    if (own.count() == 0) scenarios.push_back(std::move(scenario));
    mistakes.add(std::move(own).take(), combination.text);
    if (mistakes.count() > kMaxMistakes) break;
  }
  mistakes.report(diagnostics);
  if (mistakes.count() == 0 && !combinations.empty()) {
    const std::size_t before = diagnostics.count();
    check_rows(document, deciding, diagnostics);
    if (diagnostics.count() != before) scenarios.clear();
  }
  return scenarios;
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
    auto scenarios = read_document(document, file, seen, diagnostics);
    // A mistake that was found while the tree was built (an alias, a tag) may be anywhere in the file.
    if (syntax_mistakes == 0) std::ranges::move(scenarios, std::back_inserter(result.scenarios));
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
    std::error_code ignored;
    const bool named = fs::is_regular_file(path, ignored);
    for (const fs::path& file : files_of(path, result.diagnostics)) {
      std::error_code error;
      const fs::path canonical = fs::canonical(file, error);
      if (!error && !loaded.insert(canonical).second) {
        for (Scenario& scenario : result.scenarios) {
          if (named && fs::equivalent(scenario.file, file, ignored)) scenario.file_named = true;
        }
        continue;
      }
      ParseResult part = load_file(file, seen);
      for (Scenario& scenario : part.scenarios) scenario.file_named = named;
      append(std::move(part), result);
    }
  }
  return result;
}

}  // namespace panicroom::harness
