// Typed access to the nodes of a YAML file. Every function that finds a mistake reports it where it stands and returns
// nothing, so that a reader goes on and finds the next.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/scenario.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {

// A map with a fixed set of keys. The constructor reports what is not a map, unknown keys and duplicates; the first of
// duplicates counts. The node, the diagnostics and the texts outlive it.
class Fields {
 public:
  // `what` names the map in messages: "machine", "a step".
  Fields(const YamlNode& node, std::string_view what, std::span<const std::string_view> known,
         Diagnostics& diagnostics);

  [[nodiscard]] bool is_map() const { return node_.kind == YamlNode::Kind::kMap; }
  [[nodiscard]] Position at() const { return node_.at; }
  [[nodiscard]] const YamlNode* find(std::string_view key) const;
  // As find(), and reports the key that is missing.
  const YamlNode* require(std::string_view key) const;
  // Where the key stands; the map's own place if it does not.
  [[nodiscard]] Position key_at(std::string_view key) const;

 private:
  [[nodiscard]] std::optional<std::size_t> index_of(std::string_view key) const;

  const YamlNode& node_;
  std::string_view what_;
  Diagnostics& diagnostics_;
};

// A map whose keys are the user's own words (CPUs, registers): each with its value, duplicates and what is no word
// reported and left out.
struct NamedNode {
  std::string_view name;
  Position at;
  const YamlNode* value;
};
std::vector<NamedNode> entries(const YamlNode& node, std::string_view what, Diagnostics& diagnostics);

// The number in an entry's name such as "cpu3", if it is one of a machine's with `vcpus`.
std::optional<std::uint32_t> read_cpu_key(const NamedNode& entry, std::string_view what, std::uint32_t vcpus,
                                          Diagnostics& diagnostics);

// --- Single values. `what` is the key's name, for messages.
std::optional<std::string> read_text(const YamlNode& node, std::string_view what, Diagnostics& diagnostics);
std::optional<bool> read_bool(const YamlNode& node, std::string_view what, Diagnostics& diagnostics);
// From `low` to `high`, both included.
std::optional<std::uint64_t> read_whole_number(const YamlNode& node, std::string_view what, std::uint64_t low,
                                               std::uint64_t high, Diagnostics& diagnostics);
std::optional<std::uint64_t> read_machine_word(const YamlNode& node, std::string_view what, Diagnostics& diagnostics);
std::optional<std::uint64_t> read_size(const YamlNode& node, std::string_view what, Diagnostics& diagnostics);
// More than none.
std::optional<Nanoseconds> read_duration(const YamlNode& node, std::string_view what, Diagnostics& diagnostics);
// A CPU of a machine that has `vcpus`.
std::optional<VcpuId> read_cpu(const YamlNode& node, std::string_view what, std::uint32_t vcpus,
                               Diagnostics& diagnostics);
// Where a step happens: an event or a point.
std::optional<At> read_at(const YamlNode& node, std::string_view what, Diagnostics& diagnostics);
// One of `words`: its index in them.
std::optional<std::size_t> read_word(const YamlNode& node, std::string_view what,
                                     std::span<const std::string_view> words, Diagnostics& diagnostics);

// The items of a list; nothing but a report if it is none.
std::span<const YamlNode> read_list(const YamlNode& node, std::string_view what, std::string_view example,
                                    Diagnostics& diagnostics);

}  // namespace panicroom::harness
