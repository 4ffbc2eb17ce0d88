#include "harness/scenario/fields.h"

#include <algorithm>
#include <set>

#include "base/spelling.h"
#include "harness/scenario/values.h"

namespace panicroom::harness {
namespace {

using Kind = YamlNode::Kind;

void wrong_kind(const YamlNode& node, std::string_view what, std::string_view wanted, Diagnostics& diagnostics) {
  if (node.kind == Kind::kRejected) return;
  if (node.kind == Kind::kNothing) {
    diagnostics.add(node.at, "'{}' is empty: it takes {}", what, wanted);
  } else {
    diagnostics.add(node.at, "'{}' takes {}, not {}", what, wanted, describe(node.kind));
  }
}

bool is_scalar(const YamlNode& node, std::string_view what, std::string_view wanted, Diagnostics& diagnostics) {
  if (node.kind == Kind::kScalar) return true;
  wrong_kind(node, what, wanted, diagnostics);
  return false;
}

// A value without quotes: what a number or a truth value has to be.
bool is_plain(const YamlNode& node, std::string_view what, std::string_view wanted, Diagnostics& diagnostics) {
  if (!is_scalar(node, what, wanted, diagnostics)) return false;
  if (node.quoted) diagnostics.add(node.at, "'{}' takes {}, not the text {}", what, wanted, shown(node.text));
  return !node.quoted;
}

template <typename T>
std::optional<T> report(const YamlNode& node, std::string_view what, Result<T> value, Diagnostics& diagnostics) {
  if (value) return *value;
  diagnostics.add(node.at, "'{}': {}", what, value.error().message());
  return std::nullopt;
}

}  // namespace

Fields::Fields(const YamlNode& node, std::string_view what, std::span<const std::string_view> known,
               Diagnostics& diagnostics)
    : node_(node), what_(what), diagnostics_(diagnostics) {
  for (const NamedNode& entry : entries(node, what, diagnostics)) {
    if (std::ranges::find(known, entry.name) != known.end()) continue;
    diagnostics.add(entry.at, "unknown key {} in {}{}", shown(entry.name), what, did_you_mean(entry.name, known));
  }
}

std::optional<std::size_t> Fields::index_of(std::string_view key) const {
  for (std::size_t i = 0; i < node_.keys.size(); ++i) {
    if (node_.keys[i].kind == Kind::kScalar && node_.keys[i].text == key) return i;
  }
  return std::nullopt;
}

const YamlNode* Fields::find(std::string_view key) const {
  const auto i = index_of(key);
  return i ? &node_.items[*i] : nullptr;
}

const YamlNode* Fields::require(std::string_view key) const {
  const YamlNode* node = find(key);
  if (node == nullptr && is_map()) diagnostics_.add(node_.at, "{} has no '{}'", what_, key);
  return node;
}

Position Fields::key_at(std::string_view key) const {
  const auto i = index_of(key);
  return i ? node_.keys[*i].at : node_.at;
}

std::vector<NamedNode> entries(const YamlNode& node, std::string_view what, Diagnostics& diagnostics) {
  std::vector<NamedNode> found;
  if (node.kind != Kind::kMap) {
    wrong_kind(node, what, "keys with values", diagnostics);
    return found;
  }
  std::map<std::string_view, Position> seen;
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const YamlNode& key = node.keys[i];
    if (key.kind != Kind::kScalar) {
      if (key.kind != Kind::kRejected)
        diagnostics.add(key.at, "a key in {} is a word, not {}", what, describe(key.kind));
      continue;
    }
    const auto [first, fresh] = seen.emplace(key.text, key.at);
    if (!fresh) {
      diagnostics.add(key.at, "duplicate key {} in {}: it is given in line {} already", shown(key.text), what,
                      first->second.line);
      continue;
    }
    found.push_back({.name = key.text, .at = key.at, .value = &node.items[i]});
  }
  return found;
}

std::optional<std::uint32_t> read_cpu_key(const NamedNode& entry, std::string_view what, std::uint32_t vcpus,
                                          Diagnostics& diagnostics) {
  for (std::uint32_t n = 0; n < vcpus; ++n) {
    if (entry.name == fmt::format("cpu{}", n)) return n;
  }
  const bool number = entry.name.starts_with("cpu") && entry.name.size() > 3 &&
                      entry.name.find_first_not_of("0123456789", 3) == std::string_view::npos;
  if (number) {
    diagnostics.add(entry.at, "there is no {}; the machine has {} CPU(s), from cpu0", shown(entry.name), vcpus);
  } else {
    diagnostics.add(entry.at, "unknown key {} in {}: it is cpu0, cpu1 and so on", shown(entry.name), what);
  }
  return std::nullopt;
}

std::optional<std::string> read_text(const YamlNode& node, std::string_view what, Diagnostics& diagnostics) {
  if (!is_scalar(node, what, "a text", diagnostics)) return std::nullopt;
  return node.text;
}

std::optional<bool> read_bool(const YamlNode& node, std::string_view what, Diagnostics& diagnostics) {
  if (!is_plain(node, what, "true or false", diagnostics)) return std::nullopt;
  if (node.text == "true") return true;
  if (node.text == "false") return false;
  diagnostics.add(node.at, "'{}' takes true or false, not {}", what, shown(node.text));
  return std::nullopt;
}

std::optional<std::uint64_t> read_whole_number(const YamlNode& node, std::string_view what, std::uint64_t low,
                                               std::uint64_t high, Diagnostics& diagnostics) {
  if (!is_plain(node, what, "a whole number", diagnostics)) return std::nullopt;
  const auto value = report(node, what, parse_whole_number(node.text), diagnostics);
  if (value && (*value < low || *value > high)) {
    diagnostics.add(node.at, "'{}' is {}: it goes from {} to {}", what, *value, low, high);
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> read_machine_word(const YamlNode& node, std::string_view what, Diagnostics& diagnostics) {
  if (!is_plain(node, what, "a number", diagnostics)) return std::nullopt;
  return report(node, what, parse_machine_word(node.text), diagnostics);
}

std::optional<std::uint64_t> read_size(const YamlNode& node, std::string_view what, Diagnostics& diagnostics) {
  if (!is_scalar(node, what, "a size such as 512M", diagnostics)) return std::nullopt;
  return report(node, what, parse_size(node.text), diagnostics);
}

std::optional<Nanoseconds> read_duration(const YamlNode& node, std::string_view what, Diagnostics& diagnostics) {
  if (!is_scalar(node, what, "a duration such as 5s", diagnostics)) return std::nullopt;
  const auto value = report(node, what, parse_duration(node.text), diagnostics);
  if (value && *value <= Nanoseconds::zero()) {
    diagnostics.add(node.at, "'{}' is {}: it must be more than nothing", what, shown(node.text));
    return std::nullopt;
  }
  return value;
}

std::optional<VcpuId> read_cpu(const YamlNode& node, std::string_view what, std::uint32_t vcpus,
                               Diagnostics& diagnostics) {
  if (!is_plain(node, what, "a CPU's number", diagnostics)) return std::nullopt;
  const auto value = report(node, what, parse_whole_number(node.text), diagnostics);
  if (!value) return std::nullopt;
  if (*value >= vcpus) {
    diagnostics.add(node.at, "'{}': there is no CPU {}; the machine has {}, numbered from 0", what, *value, vcpus);
    return std::nullopt;
  }
  return VcpuId{static_cast<std::uint32_t>(*value)};
}

std::optional<At> read_at(const YamlNode& node, std::string_view what, Diagnostics& diagnostics) {
  const auto text = read_text(node, what, diagnostics);
  if (!text) return std::nullopt;
  auto at = parse_at(*text);
  if (at) return *std::move(at);
  diagnostics.add(node.at, "'{}': {}", what, at.error().message());
  return std::nullopt;
}

std::optional<std::size_t> read_word(const YamlNode& node, std::string_view what,
                                     std::span<const std::string_view> words, Diagnostics& diagnostics) {
  const std::string wanted = fmt::format("one of {}", fmt::join(words, ", "));
  if (!is_scalar(node, what, wanted, diagnostics)) return std::nullopt;
  const auto found = std::ranges::find(words, node.text);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  diagnostics.add(node.at, "'{}': {} is not known{}; it is {}", what, shown(node.text), did_you_mean(node.text, words),
                  wanted);
  return std::nullopt;
}

std::span<const YamlNode> read_list(const YamlNode& node, std::string_view what, std::string_view example,
                                    Diagnostics& diagnostics) {
  if (node.kind == Kind::kSequence) return node.items;
  wrong_kind(node, what, fmt::format("a list such as {}", example), diagnostics);
  return {};
}

}  // namespace panicroom::harness
