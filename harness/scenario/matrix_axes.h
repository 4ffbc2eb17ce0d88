// The axes of a `matrix:` and their values, and which combinations a row (`exclude`, `when`) is about.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/fields.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {

// Both refer to the document, which outlives them.
struct AxisValue {
  const YamlNode* name = nullptr;     // A scalar.
  std::vector<NamedNode> parts = {};  // What `${axis.part}` stands for.

  [[nodiscard]] const YamlNode* find(std::string_view part) const;
};
struct Axis {
  std::string_view name;
  Position at;
  std::vector<AxisValue> values;
};

// The index of the value that is chosen on each axis.
using Choice = std::vector<std::size_t>;

// "stop: drop, target: idle"
std::string to_text(std::span<const Axis> axes, const Choice& choice);

// The axes of the map `matrix`. Keys of it that are no axes are left out: `exclude`. Reports every mistake.
std::vector<Axis> read_axes(const YamlNode& matrix, Diagnostics& diagnostics);

inline constexpr std::string_view kExclude = "exclude";
// A row of `expect` may name the kernel as it names an axis.
inline constexpr std::string_view kKernel = "kernel";

// `{stop: drop, target: [idle, held]}`: the combinations that have one of these values on each of these axes.
class Selector {
 public:
  // `what` names the map in messages. `other` is a key that is no axis and not looked at; empty: none. Nothing if there
  // is a mistake.
  static std::optional<Selector> read(const YamlNode& node, std::string_view what, std::span<const Axis> axes,
                                      std::string_view other, Diagnostics& diagnostics);

  [[nodiscard]] bool matches(const Choice& choice) const;

 private:
  std::vector<std::vector<bool>> allowed_;  // By axis and value; an empty list is any value.
};

}  // namespace panicroom::harness
