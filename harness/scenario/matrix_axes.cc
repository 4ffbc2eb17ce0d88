#include "harness/scenario/matrix_axes.h"

#include <algorithm>
#include <set>

#include "base/spelling.h"
#include "harness/scenario/matrix.h"

namespace panicroom::harness {
namespace {

using Kind = YamlNode::Kind;

constexpr std::size_t kMaxWord = 40;

// Axes, parts and values become parts of names, and stand between `${`, `.` and `}`.
bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= kMaxWord && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

bool check_word(std::string_view what, std::string_view text, Position at, Diagnostics& diagnostics) {
  if (is_word(text)) return true;
  diagnostics.add(at, "{}: {} is not a word of at most {} letters, digits, '-' and '_'", what, shown(text), kMaxWord);
  return false;
}

// `[2, 4]`: values that are their names and nothing more.
void read_names(const YamlNode& node, Axis& axis, std::string_view what, Diagnostics& diagnostics) {
  std::set<std::string_view> seen;
  for (const YamlNode& item : node.items) {
    if (!read_text(item, axis.name, diagnostics) || !check_word(what, item.text, item.at, diagnostics)) continue;
    if (!seen.insert(item.text).second) {
      diagnostics.add(item.at, "{} has the value {} twice", what, shown(item.text));
      continue;
    }
    axis.values.push_back({.name = &item});
  }
}

// `{drop: {deliver: drop}, ...}`: names with parts.
void read_named_values(const YamlNode& node, Axis& axis, std::string_view what, Diagnostics& diagnostics) {
  for (const NamedNode& entry : entries(node, axis.name, diagnostics)) {
    if (!check_word(what, entry.name, entry.at, diagnostics)) continue;
    AxisValue value;
    for (std::size_t i = 0; i < node.keys.size(); ++i) {
      if (&node.items[i] == entry.value) value.name = &node.keys[i];
    }
    if (entry.value->kind != Kind::kNothing) {
      value.parts = entries(*entry.value, entry.name, diagnostics);
      for (const NamedNode& part : value.parts) check_word(what, part.name, part.at, diagnostics);
    }
    axis.values.push_back(std::move(value));
  }
}

}  // namespace

const YamlNode* AxisValue::find(std::string_view part) const {
  const auto found = std::ranges::find(parts, part, &NamedNode::name);
  return found == parts.end() ? nullptr : found->value;
}

std::string to_text(std::span<const Axis> axes, const Choice& choice) {
  std::string text;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    text += fmt::format("{}{}: {}", i == 0 ? "" : ", ", axes[i].name, axes[i].values[choice[i]].name->text);
  }
  return text;
}

std::vector<Axis> read_axes(const YamlNode& matrix, Diagnostics& diagnostics) {
  std::vector<Axis> axes;
  for (const NamedNode& entry : entries(matrix, "matrix", diagnostics)) {
    if (entry.name == kExclude) continue;
    if (entry.name == kKernel) {
      diagnostics.add(entry.at, "an axis cannot be called '{}': kernels are chosen on the command line", kKernel);
      continue;
    }
    const std::string what = fmt::format("the axis {}", shown(entry.name));
    if (!check_word("an axis", entry.name, entry.at, diagnostics)) continue;
    Axis axis{.name = entry.name, .at = entry.at, .values = {}};
    const std::size_t mistakes = diagnostics.count();
    if (entry.value->kind == Kind::kSequence) {
      read_names(*entry.value, axis, what, diagnostics);
    } else {
      read_named_values(*entry.value, axis, what, diagnostics);
    }
    if (axis.values.empty() && diagnostics.count() == mistakes) diagnostics.add(entry.at, "{} has no values", what);
    axes.push_back(std::move(axis));
  }
  if (axes.size() > kMaxAxes) diagnostics.add(axes[kMaxAxes].at, "more than {} axes", kMaxAxes);
  if (axes.empty() && matrix.kind == Kind::kMap) diagnostics.add(matrix.at, "'matrix' has no axes");
  return axes;
}

std::optional<Selector> Selector::read(const YamlNode& node, std::string_view what, std::span<const Axis> axes,
                                       std::string_view other, Diagnostics& diagnostics) {
  const std::size_t mistakes = diagnostics.count();
  Selector selector;
  selector.allowed_.resize(axes.size());
  std::vector<std::string_view> known;
  for (const Axis& axis : axes) known.push_back(axis.name);
  if (!other.empty()) known.push_back(other);
  for (const NamedNode& entry : entries(node, what, diagnostics)) {
    if (entry.name == other) continue;
    const auto axis = std::ranges::find(axes, entry.name, &Axis::name);
    if (axis == axes.end()) {
      diagnostics.add(entry.at, "{}: there is no axis {}{}", what, shown(entry.name), did_you_mean(entry.name, known));
      continue;
    }
    std::vector<std::string_view> names;
    for (const AxisValue& value : axis->values) names.push_back(value.name->text);
    auto& allowed = selector.allowed_[static_cast<std::size_t>(axis - axes.begin())];
    allowed.assign(names.size(), false);
    const bool one = entry.value->kind == Kind::kScalar;
    const std::span<const YamlNode> items =
        one ? std::span(entry.value, 1) : read_list(*entry.value, entry.name, "[a, b]", diagnostics);
    if (items.empty() && entry.value->kind == Kind::kSequence) {
      diagnostics.add(entry.value->at, "'{}' names no value", entry.name);
    }
    for (const YamlNode& item : items) {
      const auto text = read_text(item, entry.name, diagnostics);
      if (!text) continue;
      const auto named = std::ranges::find(names, *text);
      if (named != names.end()) {
        allowed[static_cast<std::size_t>(named - names.begin())] = true;
      } else {
        diagnostics.add(item.at, "{}: the axis '{}' has no value {}{}", what, axis->name, shown(*text),
                        did_you_mean(*text, names));
      }
    }
  }
  return diagnostics.count() == mistakes ? std::optional(std::move(selector)) : std::nullopt;
}

bool Selector::matches(const Choice& choice) const {
  for (std::size_t i = 0; i < allowed_.size(); ++i) {
    if (!allowed_[i].empty() && !allowed_[i][choice[i]]) return false;
  }
  return true;
}

}  // namespace panicroom::harness
