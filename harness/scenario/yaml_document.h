// A YAML file as a tree in which every node knows its place, read under bounds that hold for any input: file size,
// nesting, number of nodes. Leaves out what the scenario grammar has no use for: anchors, aliases and tags are
// mistakes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "harness/scenario/diagnostic.h"

namespace panicroom::harness {

inline constexpr std::size_t kMaxFileBytes = std::size_t{256} * 1024;
inline constexpr int kMaxDepth = 16;
inline constexpr std::size_t kMaxNodes = 20'000;

struct YamlNode {
  enum class Kind {
    kNothing,  // No value, `~` or `null`.
    kScalar,
    kSequence,
    kMap,
    kRejected,  // Already reported (an alias): readers say nothing more about it.
  };
  Kind kind = Kind::kNothing;
  Position at = {};
  std::string text = {};  // A scalar's value.
  bool quoted = false;    // Whether a scalar stood in quotes or in a block, and so is text and never a number.
  std::vector<YamlNode>
      keys;  // A map's keys, in the file's order and with duplicates; each belongs to the item beside it.
  std::vector<YamlNode> items = {};  // A sequence's items, or a map's values.
};

// "a list", "a map", "nothing": for messages.
std::string_view describe(YamlNode::Kind kind);

// The documents of a file, as far as it could be read; every reason why it could not is in `diagnostics`.
std::vector<YamlNode> read_documents(std::string_view text, Diagnostics& diagnostics);

}  // namespace panicroom::harness
