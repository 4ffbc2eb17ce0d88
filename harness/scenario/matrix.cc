#include "harness/scenario/matrix.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/spelling.h"
#include "harness/scenario/fields.h"
#include "harness/scenario/matrix_axes.h"

namespace panicroom::harness {
namespace {

using Kind = YamlNode::Kind;

constexpr std::string_view kMatrix = "matrix";
constexpr std::string_view kExpect = "expect";
constexpr std::string_view kWhen = "when";
constexpr std::string_view kOpen = "${";

std::optional<std::size_t> index_of(const YamlNode& map, std::string_view key) {
  if (map.kind != Kind::kMap) return std::nullopt;
  for (std::size_t i = 0; i < map.keys.size(); ++i) {
    if (map.keys[i].kind == Kind::kScalar && map.keys[i].text == key) return i;
  }
  return std::nullopt;
}

const YamlNode* find(const YamlNode& map, std::string_view key) {
  const auto i = index_of(map, key);
  return i ? &map.items[*i] : nullptr;
}

// A text in pieces: literal text, and what stands between `${` and `}`.
struct Piece {
  std::string_view text;
  bool reference = false;
};
// Nothing if a `${` has no end.
std::optional<std::vector<Piece>> pieces_of(std::string_view text) {
  std::vector<Piece> pieces;
  while (!text.empty()) {
    const auto open = text.find(kOpen);
    if (open > 0) pieces.push_back({text.substr(0, open)});
    if (open == std::string_view::npos) break;
    const auto close = text.find('}', open);
    if (close == std::string_view::npos) return std::nullopt;
    const auto begin = open + kOpen.size();
    pieces.push_back({text.substr(begin, close - begin), true});
    text.remove_prefix(close + 1);
  }
  return pieces;
}

bool is_whole_reference(const std::vector<Piece>& pieces) { return pieces.size() == 1 && pieces.front().reference; }

// What a node costs of the bound, its long texts as well.
std::size_t cost_of(const YamlNode& node) { return 1 + node.text.size() / 64; }

std::size_t cost_of_all(const YamlNode& node) {
  std::size_t cost = cost_of(node);
  for (const YamlNode& key : node.keys) cost += cost_of_all(key);
  for (const YamlNode& item : node.items) cost += cost_of_all(item);
  return cost;
}

class Expander {
 public:
  Expander(const YamlNode& document, Diagnostics& diagnostics)
      : document_(document), matrix_(*find(document, kMatrix)), diagnostics_(diagnostics) {}

  std::vector<Combination> expand();

 private:
  struct Row {
    const YamlNode* node;
    std::optional<Selector> when;  // Nothing: about every combination.
    bool used = false;
  };
  struct Reference {
    std::size_t axis;
    std::string_view part;  // Empty: the value's name.
  };

  // --- Before anything is expanded: each mistake is found once.
  void read_exclusions();
  void read_rows();
  void check_references(const YamlNode& node);
  void check_no_reference(const YamlNode& node);
  void check_text(const YamlNode& node);
  void check_reference(const YamlNode& node, std::string_view text, bool whole);
  void check_use();
  std::vector<Choice> choices();

  [[nodiscard]] std::optional<Reference> resolve(std::string_view text) const;

  // --- One combination. Nothing more is built once a bound is reached.
  YamlNode substituted(const YamlNode& node, const Choice& choice);
  YamlNode expectation_rows(const YamlNode& node, const Choice& choice);
  [[nodiscard]] const YamlNode& meant(const Reference& reference, const Choice& choice) const;
  bool count(std::size_t cost);

  const YamlNode& document_;
  const YamlNode& matrix_;
  Diagnostics& diagnostics_;
  std::vector<Axis> axes_;
  std::vector<Row> exclusions_;
  std::vector<Row> rows_;
  std::vector<bool> named_;                                                // By axis: `${axis}` stands somewhere.
  std::set<std::pair<std::size_t, std::string_view>> parts_used_;          // By axis: `${axis.part}` does.
  std::set<std::tuple<std::size_t, std::size_t, std::string_view>> gaps_;  // Reported: this value lacks this part.
  std::size_t cost_ = 0;
  bool too_much_ = false;
};

void Expander::read_exclusions() {
  const YamlNode* node = find(matrix_, kExclude);
  if (node == nullptr) return;
  for (const YamlNode& item : read_list(*node, kExclude, "[{axis: value}]", diagnostics_)) {
    auto selector = Selector::read(item, kExclude, axes_, {}, diagnostics_);
    if (selector) exclusions_.push_back({.node = &item, .when = std::move(selector)});
  }
}

// What is wrong with a row but for its `when` is the expectation reader's to say.
void Expander::read_rows() {
  const YamlNode* expect = find(document_, kExpect);
  if (expect == nullptr || expect->kind != Kind::kSequence) return;
  for (const YamlNode& item : expect->items) {
    Row row{.node = &item, .when = std::nullopt};
    if (const YamlNode* when = find(item, kWhen)) {
      row.when = Selector::read(*when, kWhen, axes_, kKernel, diagnostics_);
    }
    rows_.push_back(std::move(row));
  }
}

std::optional<Expander::Reference> Expander::resolve(std::string_view text) const {
  const auto dot = text.find('.');
  const auto axis = std::ranges::find(axes_, text.substr(0, dot), &Axis::name);
  if (axis == axes_.end()) return std::nullopt;
  const auto part = dot == std::string_view::npos ? std::string_view() : text.substr(dot + 1);
  if (dot != std::string_view::npos && part.empty()) return std::nullopt;
  return Reference{.axis = static_cast<std::size_t>(axis - axes_.begin()), .part = part};
}

void Expander::check_reference(const YamlNode& node, std::string_view text, bool whole) {
  const auto reference = resolve(text);
  if (!reference) {
    std::vector<std::string_view> names;
    for (const Axis& axis : axes_) names.push_back(axis.name);
    diagnostics_.add(node.at, "{} refers to no axis of the matrix{}", shown(fmt::format("${{{}}}", text)),
                     did_you_mean(text.substr(0, text.find('.')), names));
    return;
  }
  if (reference->part.empty()) {
    named_[reference->axis] = true;
    return;
  }
  const Axis& axis = axes_[reference->axis];
  parts_used_.emplace(reference->axis, reference->part);
  for (std::size_t i = 0; i < axis.values.size(); ++i) {
    const AxisValue& value = axis.values[i];
    const YamlNode* part = value.find(reference->part);
    if (part == nullptr) {
      if (!gaps_.emplace(reference->axis, i, reference->part).second) continue;
      std::vector<std::string_view> names;
      for (const NamedNode& known : value.parts) names.push_back(known.name);
      diagnostics_.add(value.name->at, "{} of the axis '{}' has no {}, which line {} refers to{}",
                       shown(value.name->text), axis.name, shown(reference->part), node.at.line,
                       did_you_mean(reference->part, names));
    } else if (!whole && part->kind != Kind::kScalar && part->kind != Kind::kRejected) {
      diagnostics_.add(node.at, "{} stands within a text, but for {} it is {}", shown(fmt::format("${{{}}}", text)),
                       shown(value.name->text), describe(part->kind));
      return;
    }
  }
}

void Expander::check_text(const YamlNode& node) {
  if (node.text.find(kOpen) == std::string::npos) return;
  const auto pieces = pieces_of(node.text);
  if (!pieces) {
    diagnostics_.add(node.at, "{}: a '${{' without a '}}'", shown(node.text));
    return;
  }
  for (const Piece& piece : *pieces) {
    if (piece.reference) check_reference(node, piece.text, is_whole_reference(*pieces));
  }
}

void Expander::check_references(const YamlNode& node) {
  if (node.kind == Kind::kScalar) check_text(node);
  const bool row = std::ranges::binary_search(rows_, &node, std::less<>(), &Row::node);  // They lie in one list.
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const bool key = node.kind == Kind::kMap && node.keys[i].kind == Kind::kScalar;
    if (key && ((&node == &document_ && node.keys[i].text == kMatrix) || (row && node.keys[i].text == kWhen))) continue;
    check_references(node.items[i]);
  }
}

// A part that refers to another would have to be replaced in some order.
void Expander::check_no_reference(const YamlNode& node) {
  if (node.kind == Kind::kScalar && node.text.find(kOpen) != std::string::npos) {
    diagnostics_.add(node.at, "{}: what stands in the matrix does not refer to it", shown(node.text));
  }
  for (const YamlNode& item : node.items) check_no_reference(item);
}

void Expander::check_use() {
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    const auto first = parts_used_.lower_bound({i, {}});
    if (!named_[i] && (first == parts_used_.end() || first->first != i)) {
      diagnostics_.add(axes_[i].at, "the axis '{}' is used nowhere: write ${{{}}} where its values differ",
                       axes_[i].name, axes_[i].name);
      continue;
    }
    for (const AxisValue& value : axes_[i].values) {
      for (const NamedNode& part : value.parts) {
        if (parts_used_.contains({i, part.name})) continue;
        diagnostics_.add(part.at, "nothing refers to ${{{}.{}}}", axes_[i].name, part.name);
      }
    }
  }
}

std::vector<Choice> Expander::choices() {
  std::size_t all = 1;
  for (const Axis& axis : axes_) all = std::min(all * axis.values.size(), kMaxCombinations + 1);
  if (all > kMaxCombinations) {
    diagnostics_.add(matrix_.at, "'matrix' has more than {} combinations", kMaxCombinations);
    return {};
  }
  std::vector<Choice> wanted;
  Choice choice(axes_.size());
  for (std::size_t n = 0; n < all; ++n) {
    std::size_t rest = n;
    for (std::size_t i = axes_.size(); i-- > 0;) {
      choice[i] = rest % axes_[i].values.size();
      rest /= axes_[i].values.size();
    }
    const auto excludes = [&](const Row& row) { return row.when->matches(choice); };
    const auto excluded = std::ranges::find_if(exclusions_, excludes);
    if (excluded == exclusions_.end()) {
      wanted.push_back(choice);
    } else {
      excluded->used = true;
    }
  }
  for (const Row& row : exclusions_) {
    if (!row.used) diagnostics_.add(row.node->at, "this excludes nothing that the rows before it do not");
  }
  if (wanted.empty()) diagnostics_.add(matrix_.at, "'matrix' excludes every combination");
  return wanted;
}

bool Expander::count(std::size_t cost) {
  cost_ += cost;
  if (cost_ > kMaxExpandedNodes && !std::exchange(too_much_, true)) {
    diagnostics_.add(matrix_.at, "the combinations have more than {} values in all", kMaxExpandedNodes);
  }
  return !too_much_;
}

const YamlNode& Expander::meant(const Reference& reference, const Choice& choice) const {
  const AxisValue& value = axes_[reference.axis].values[choice[reference.axis]];
  return reference.part.empty() ? *value.name : *value.find(reference.part);
}

YamlNode Expander::substituted(const YamlNode& node, const Choice& choice) {
  std::size_t cost = cost_of(node);
  for (const YamlNode& key : node.keys) cost += cost_of_all(key);
  if (!count(cost)) return {};
  if (node.kind == Kind::kScalar && node.text.find(kOpen) != std::string::npos) {
    const auto pieces = pieces_of(node.text);
    if (is_whole_reference(*pieces)) {
      const YamlNode& value = meant(*resolve(pieces->front().text), choice);
      return count(cost_of_all(value)) ? value : YamlNode{};
    }
    YamlNode text{.kind = Kind::kScalar, .at = node.at, .text = {}, .quoted = node.quoted};
    for (const Piece& piece : *pieces) {
      text.text += piece.reference ? std::string_view(meant(*resolve(piece.text), choice).text) : piece.text;
      if (text.text.size() <= kMaxExpandedText) continue;
      diagnostics_.add(node.at, "longer than {} bytes with its references replaced", kMaxExpandedText);
      too_much_ = true;
      return {};
    }
    return text;
  }
  YamlNode copy{.kind = node.kind, .at = node.at, .text = node.text, .quoted = node.quoted, .keys = node.keys};
  for (const YamlNode& item : node.items) {
    YamlNode replaced = substituted(item, choice);
    // A list in place of an item of a list: its items.
    if (node.kind == Kind::kSequence && item.kind == Kind::kScalar && replaced.kind == Kind::kSequence) {
      std::ranges::move(replaced.items, std::back_inserter(copy.items));
    } else {
      copy.items.push_back(std::move(replaced));
    }
  }
  return copy;
}

YamlNode Expander::expectation_rows(const YamlNode& node, const Choice& choice) {
  YamlNode rows{.kind = node.kind, .at = node.at};
  for (Row& row : rows_) {
    if (row.when && !row.when->matches(choice)) continue;
    row.used = true;
    YamlNode bare = *row.node;
    std::optional<YamlNode> kernel_only;
    const auto when = index_of(bare, kWhen);
    if (when) {
      const auto kernel = index_of(bare.items[*when], kKernel);
      if (kernel) {
        kernel_only = YamlNode{.kind = Kind::kMap, .at = bare.items[*when].at};
        kernel_only->keys.push_back(bare.items[*when].keys[*kernel]);
        kernel_only->items.push_back(bare.items[*when].items[*kernel]);
      }
      bare.items[*when] = YamlNode{.kind = Kind::kRejected, .at = bare.items[*when].at};
    }
    YamlNode expanded = substituted(bare, choice);
    if (too_much_) return {};
    if (kernel_only) {
      expanded.items[*when] = *std::move(kernel_only);
    } else if (when) {
      expanded.keys.erase(expanded.keys.begin() + static_cast<std::ptrdiff_t>(*when));
      expanded.items.erase(expanded.items.begin() + static_cast<std::ptrdiff_t>(*when));
    }
    rows.items.push_back(std::move(expanded));
  }
  return rows;
}

std::vector<Combination> Expander::expand() {
  const std::size_t mistakes = diagnostics_.count();
  entries(document_, "the scenario", diagnostics_);  // Of two keys of one name, only one would be looked at here.
  axes_ = read_axes(matrix_, diagnostics_);
  if (diagnostics_.count() != mistakes) return {};
  check_no_reference(matrix_);
  if (diagnostics_.count() != mistakes) return {};
  named_.assign(axes_.size(), false);
  read_exclusions();
  read_rows();
  check_references(document_);
  check_use();
  if (diagnostics_.count() != mistakes) return {};
  const auto wanted = choices();

  std::vector<Combination> combinations;
  std::vector<std::string> without_row;
  for (const Choice& choice : wanted) {
    YamlNode document{.kind = Kind::kMap, .at = document_.at};
    for (std::size_t i = 0; i < document_.items.size() && !too_much_; ++i) {
      const YamlNode& key = document_.keys[i];
      const YamlNode& item = document_.items[i];
      if (key.text == kMatrix) continue;
      const bool rows = key.text == kExpect && item.kind == Kind::kSequence;
      document.keys.push_back(key);
      document.items.push_back(rows ? expectation_rows(item, choice) : substituted(item, choice));
      if (rows && !rows_.empty() && document.items.back().items.empty()) without_row.push_back(to_text(axes_, choice));
    }
    if (too_much_) break;
    combinations.push_back({.text = to_text(axes_, choice), .document = std::move(document)});
  }
  if (!without_row.empty() && !too_much_) {
    const auto others = without_row.size() - 1;
    diagnostics_.add(find(document_, kExpect)->at, "no row of 'expect' is about ({}){}", without_row.front(),
                     others == 0 ? "" : fmt::format(", nor about {} other combinations", others));
  }
  for (const Row& row : rows_) {
    if (!row.used && !too_much_) diagnostics_.add(row.node->at, "this row is about no combination that there is");
  }
  if (diagnostics_.count() != mistakes) return {};
  return combinations;
}

}  // namespace

bool has_matrix(const YamlNode& document) { return index_of(document, kMatrix).has_value(); }

std::vector<Combination> expand(const YamlNode& document, Diagnostics& diagnostics) {
  return Expander(document, diagnostics).expand();
}

}  // namespace panicroom::harness
