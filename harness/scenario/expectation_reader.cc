#include "harness/scenario/expectation_reader.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "harness/scenario/fields.h"
#include "harness/scenario/kernel_range.h"
#include "harness/scenario/machine_reader.h"

namespace panicroom::harness {
namespace {

constexpr std::array kOutcomes = {Outcome::kDumped,        Outcome::kDumpIncomplete, Outcome::kDumpInvalid,
                                  Outcome::kCaptureFailed, Outcome::kReset,          Outcome::kHung,
                                  Outcome::kNoPanic};

std::vector<std::uint32_t> read_missing_cpus(const YamlNode& node, std::uint32_t vcpus, Diagnostics& diagnostics) {
  std::vector<std::uint32_t> missing;
  for (const YamlNode& item : read_list(node, "missing_cpus", "[1]", diagnostics)) {
    const auto cpu = read_cpu(item, "missing_cpus", vcpus, diagnostics);
    if (!cpu) continue;
    if (std::ranges::find(missing, index(*cpu)) != missing.end()) {
      diagnostics.add(item.at, "'missing_cpus' names CPU {} twice", index(*cpu));
      continue;
    }
    missing.push_back(index(*cpu));
  }
  std::ranges::sort(missing);
  return missing;
}

// `expect: dump:`, with the nodes that its contradictions are reported at.
class DumpReader {
 public:
  DumpReader(const YamlNode& node, std::uint32_t vcpus, Diagnostics& diagnostics)
      : fields_(node, "dump", kKeys, diagnostics), vcpus_(vcpus), diagnostics_(diagnostics) {}

  DumpExpectation read(std::optional<Outcome> outcome) {
    const std::size_t mistakes = diagnostics_.count();
    read_values();
    if (diagnostics_.count() == mistakes && outcome) check(*outcome);
    return dump_;
  }

 private:
  static constexpr std::array<std::string_view, 4> kKeys = {"panic_cpu", "cpus_with_registers", "missing_cpus",
                                                            "log_contains"};

  void read_values() {
    if (const YamlNode* node = fields_.find("panic_cpu")) {
      if (const auto cpu = read_cpu(*node, "panic_cpu", vcpus_, diagnostics_)) {
        dump_.panic_cpu = static_cast<std::int32_t>(index(*cpu));
      }
    }
    if (const YamlNode* node = fields_.find("cpus_with_registers")) {
      const auto count = read_whole_number(*node, "cpus_with_registers", 0, vcpus_, diagnostics_);
      if (count) dump_.cpus_with_registers = static_cast<std::uint32_t>(*count);
    }
    if (const YamlNode* node = fields_.find("missing_cpus")) {
      dump_.missing_cpus = read_missing_cpus(*node, vcpus_, diagnostics_);
    }
    if (const YamlNode* node = fields_.find("log_contains")) {
      if (node->kind != YamlNode::Kind::kSequence) {
        read_log_text(*node);
      } else {
        if (node->items.empty()) diagnostics_.add(node->at, "'log_contains' is an empty list");
        for (const YamlNode& item : node->items) read_log_text(item);
      }
    }
  }

  void read_log_text(const YamlNode& node) {
    auto text = read_text(node, "log_contains", diagnostics_);
    if (!text) return;
    if (text->empty()) diagnostics_.add(node.at, "'log_contains' is empty: every log contains that");
    dump_.log_contains.push_back(*std::move(text));
  }

  void check(Outcome outcome) {
    const auto& with = dump_.cpus_with_registers;
    const auto& missing = dump_.missing_cpus;
    if (with && missing && *with + missing->size() != vcpus_) {
      diagnostics_.add(fields_.find("cpus_with_registers")->at,
                       "'cpus_with_registers' is {} and 'missing_cpus' names {}, of {} CPU(s) in all", *with,
                       missing->size(), vcpus_);
    }
    if (outcome != Outcome::kDumped) return;
    if (missing && !missing->empty()) {
      diagnostics_.add(fields_.find("missing_cpus")->at,
                       "the outcome 'dumped' has every CPU's registers: with 'missing_cpus' it is 'dump_incomplete'");
    }
    if (with && *with < vcpus_) {
      diagnostics_.add(fields_.find("cpus_with_registers")->at,
                       "the outcome 'dumped' has the registers of all {} CPU(s): with {} it is 'dump_incomplete'",
                       vcpus_, *with);
    }
  }

  Fields fields_;
  std::uint32_t vcpus_;
  Diagnostics& diagnostics_;
  DumpExpectation dump_;
};

// Where CPUs are is looked at when nothing more happens, or when a reset begins.
bool has_places(Outcome outcome) {
  return outcome == Outcome::kHung || outcome == Outcome::kCaptureFailed || outcome == Outcome::kReset;
}

std::optional<std::string> read_function(const YamlNode& node, std::string_view cpu, Diagnostics& diagnostics) {
  auto function = read_text(node, cpu, diagnostics);
  if (!function) return std::nullopt;
  const auto spec = kernels::PointSpec::parse(*function);
  if (!spec || !std::holds_alternative<kernels::SymbolPoint>(spec->what) || function->find('+') != std::string::npos) {
    diagnostics.add(node.at, "'{}': {} is not the name of a function", cpu, shown(*function));
    return std::nullopt;
  }
  return function;
}

std::map<std::uint32_t, std::vector<std::string>> read_where(const YamlNode& node, std::uint32_t vcpus,
                                                             Diagnostics& diagnostics) {
  std::map<std::uint32_t, std::vector<std::string>> where;
  for (const NamedNode& entry : entries(node, "where", diagnostics)) {
    const auto cpu = read_cpu_key(entry, "where", vcpus, diagnostics);
    if (!cpu) continue;
    const bool several = entry.value->kind == YamlNode::Kind::kSequence;
    if (several && entry.value->items.empty()) diagnostics.add(entry.value->at, "'{}' is an empty list", entry.name);
    for (const YamlNode& one : several ? entry.value->items : std::vector{*entry.value}) {
      if (auto function = read_function(one, entry.name, diagnostics)) where[*cpu].push_back(*std::move(function));
    }
  }
  return where;
}

constexpr std::array kMessageStates = {MessageState::kWhole, MessageState::kGarbled, MessageState::kAbsent};

MessageExpectation read_panic_message(const YamlNode& node, std::optional<Outcome> outcome, Diagnostics& diagnostics) {
  constexpr std::array<std::string_view, 2> kKeys = {"console", "log"};
  const Fields fields(node, "panic_message", kKeys, diagnostics);
  std::array<std::string_view, kMessageStates.size()> names;
  std::ranges::transform(kMessageStates, names.begin(), [](MessageState state) { return name(state); });
  const auto read = [&](std::string_view key) -> std::optional<MessageState> {
    const YamlNode* value = fields.find(key);
    if (value == nullptr) return std::nullopt;
    const auto found = read_word(*value, key, names, diagnostics);
    if (!found) return std::nullopt;
    return kMessageStates[*found];
  };
  const MessageExpectation message = {.console = read("console"), .log = read("log")};
  if (message.log && outcome && !has_dump(*outcome)) {
    diagnostics.add(fields.key_at("log"), "the outcome '{}' leaves no dump with a log to look at", name(*outcome));
  }
  return message;
}

Expectation read_expectation(const Fields& fields, std::uint32_t vcpus, const std::vector<ReadStep>& timeline,
                             Diagnostics& diagnostics) {
  Expectation expectation;
  std::optional<Outcome> outcome;
  if (const YamlNode* word = fields.require("outcome")) {
    std::array<std::string_view, kOutcomes.size()> names;
    std::ranges::transform(kOutcomes, names.begin(), [](Outcome o) { return name(o); });
    if (const auto found = read_word(*word, "outcome", names, diagnostics)) outcome = kOutcomes[*found];
    if (outcome == Outcome::kNoPanic) {
      const auto panic = std::ranges::find(timeline, "panic", &ReadStep::action_word);
      if (panic != timeline.end()) {
        diagnostics.add(word->at, "the outcome cannot be 'no_panic': step {} panics", panic->number);
      }
    }
  }
  expectation.outcome = outcome.value_or(expectation.outcome);
  if (const YamlNode* dump = fields.find("dump")) {
    expectation.dump = DumpReader(*dump, vcpus, diagnostics).read(outcome);
    if (outcome && !has_dump(*outcome)) {
      diagnostics.add(fields.key_at("dump"), "the outcome '{}' leaves no dump to expect anything of", name(*outcome));
    }
  }
  if (const YamlNode* where = fields.find("where")) {
    expectation.where = read_where(*where, vcpus, diagnostics);
    if (outcome && !has_places(*outcome)) {
      diagnostics.add(fields.key_at("where"), "with the outcome '{}' it is not looked at where CPUs are",
                      name(*outcome));
    }
  }
  if (const YamlNode* because = fields.find("because")) {
    expectation.because = read_text(*because, "because", diagnostics);
    if (expectation.because && expectation.because->empty()) {
      diagnostics.add(because->at, "'because' is empty: every outcome's detail contains that");
    }
  }
  if (const YamlNode* message = fields.find("panic_message")) {
    expectation.panic_message = read_panic_message(*message, outcome, diagnostics);
    if (outcome == Outcome::kNoPanic) {
      diagnostics.add(fields.key_at("panic_message"), "with the outcome 'no_panic' there is no message of a panic");
    }
  }
  return expectation;
}

constexpr std::array<std::string_view, 6> kRowKeys = {"when", "outcome", "dump", "where", "because", "panic_message"};

// `when:` of a row: axes of a matrix are gone by now.
KernelRange read_when(const YamlNode& node, Diagnostics& diagnostics) {
  constexpr std::array<std::string_view, 1> kWhenKeys = {"kernel"};
  const Fields fields(node, "when", kWhenKeys, diagnostics);
  if (const YamlNode* kernel = fields.require("kernel")) return read_kernel_range(*kernel, diagnostics);
  return {};
}

// Every version at which another row may begin to decide: between two of them nothing changes.
std::set<KernelVersion> changes(const std::vector<KernelExpectation>& rows, const KernelRange& allowed) {
  std::set<KernelVersion> versions = {KernelVersion{}};
  const auto add = [&](const KernelRange& range) {
    if (range.at_least) versions.insert(version_of(*range.at_least));
    if (range.below) versions.insert(version_of(*range.below));
  };
  for (const KernelExpectation& row : rows) add(row.kernels);
  add(allowed);
  std::erase_if(versions, [&](const KernelVersion& version) { return !allowed.contains(version); });
  return versions;
}

}  // namespace

ReadExpectations read_expectations(const YamlNode& node, std::uint32_t vcpus, const std::vector<ReadStep>& timeline,
                                   const KernelRange& allowed, Diagnostics& diagnostics) {
  ReadExpectations read;
  if (node.kind != YamlNode::Kind::kSequence) {
    const Fields fields(node, "expect", std::span(kRowKeys).subspan(1), diagnostics);
    read.rows.push_back({.kernels = {}, .expectation = read_expectation(fields, vcpus, timeline, diagnostics)});
    read.deciding.insert(node.at);
    return read;
  }
  if (node.items.empty()) diagnostics.add(node.at, "'expect' has no rows");
  const std::size_t mistakes = diagnostics.count();
  for (const YamlNode& item : node.items) {
    const Fields fields(item, "a row of expect", kRowKeys, diagnostics);
    KernelExpectation row;
    if (const YamlNode* when = fields.find("when")) row.kernels = read_when(*when, diagnostics);
    row.expectation = read_expectation(fields, vcpus, timeline, diagnostics);
    read.rows.push_back(std::move(row));
  }
  if (diagnostics.count() != mistakes) return read;
  for (const KernelVersion& version : changes(read.rows, allowed)) {
    const auto row = std::ranges::find_if(read.rows, [&](const auto& r) { return r.kernels.contains(version); });
    if (row != read.rows.end()) {
      read.deciding.insert(node.items[static_cast<std::size_t>(row - read.rows.begin())].at);
    } else if (!node.items.empty()) {
      diagnostics.add(node.at, "no row of 'expect' is for a kernel {}", fmt::join(version, "."));
      break;
    }
  }
  return read;
}

}  // namespace panicroom::harness
