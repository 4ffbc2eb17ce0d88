// Built from yaml-cpp's events and not from its nodes: the tree is bounded while it grows, and keeps duplicate keys.
#include "harness/scenario/yaml_document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <optional>
#include <sstream>

namespace panicroom::harness {
namespace {

using Kind = YamlNode::Kind;

Position position(const YAML::Mark& mark) { return {.line = mark.line + 1, .column = mark.column + 1}; }

// Ends yaml-cpp's recursion at a bound; what is wrong has been reported before.
struct BoundReached {};

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}

  // The document that has been read whole, once.
  std::optional<YamlNode> take() { return std::exchange(finished_, std::nullopt); }

  // Where the document begins that is being read or has been read last.
  [[nodiscard]] Position start() const { return start_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    start_ = position(mark);
    open_.clear();
    finished_.reset();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add({.kind = Kind::kNothing, .at = position(mark)}); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    diagnostics_.add(position(mark), "aliases are not part of the scenario grammar: write the value out");
    add({.kind = Kind::kRejected, .at = position(mark)});
  }

  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    diagnostics_.add(position(mark), "the anchor {} is not part of the scenario grammar: write values out",
                     shown(name));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    check_tag(position(mark), tag);
    add({.kind = Kind::kScalar, .at = position(mark), .text = value, .quoted = tag == "!"});
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(Kind::kSequence, mark, tag);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
    open(Kind::kMap, mark, tag);
  }
  void OnMapEnd() override { close(); }

 private:
  void check_tag(Position at, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    diagnostics_.add(at, "the tag {} is not part of the scenario grammar", shown(tag));
  }

  void open(Kind kind, const YAML::Mark& mark, const std::string& tag) {
    check_tag(position(mark), tag);
    if (open_.size() >= kMaxDepth) {
      diagnostics_.add(position(mark), "nested more than {} levels deep", kMaxDepth);
      throw BoundReached();
    }
    count(position(mark));
    open_.push_back({.kind = kind, .at = position(mark)});
  }

  void close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    place(std::move(node));
  }

  void add(YamlNode node) {
    count(node.at);
    place(std::move(node));
  }

  void count(Position at) {
    if (++nodes_ <= kMaxNodes) return;
    diagnostics_.add(at, "more than {} values in one file", kMaxNodes);
    throw BoundReached();
  }

  // Into the innermost open collection, or as the document itself.
  void place(YamlNode node) {
    if (open_.empty()) {
      finished_ = std::move(node);
      return;
    }
    YamlNode& parent = open_.back();
    if (parent.kind == Kind::kMap && parent.keys.size() == parent.items.size()) {
      parent.keys.push_back(std::move(node));
      return;
    }
    // yaml-cpp places a missing value at the token that follows; people look for it at its key.
    if (parent.kind == Kind::kMap && node.kind == Kind::kNothing) node.at = parent.keys.back().at;
    parent.items.push_back(std::move(node));
  }

  Diagnostics& diagnostics_;
  std::vector<YamlNode> open_;  // The collections that have begun and not ended, outermost first.
  std::optional<YamlNode> finished_;
  std::size_t nodes_ = 0;
  Position start_;
};

// Length of the well-formed UTF-8 sequence at the start of `text` (not empty), or 0 (Unicode 15, table 3-7).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    return follows(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    return follows(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// Whether the file is text at all. yaml-cpp would guess another encoding or go on with replacement characters.
bool check_text(std::string_view text, Diagnostics& diagnostics) {
  Position at{.line = 1, .column = 1};
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      diagnostics.add(at, "not UTF-8: byte 0x{:02x}", byte);
      return false;
    }
    const bool line_end = byte == '\n' || text.starts_with("\r\n");
    if ((byte < 0x20 && byte != '\t' && !line_end) || byte == 0x7f) {
      diagnostics.add(at, "control character 0x{:02x}", byte);
      return false;
    }
    if (byte == '\n') {
      ++at.line;
      at.column = 1;
    } else {
      at.column += static_cast<int>(length);
    }
    text.remove_prefix(length);
  }
  return true;
}

// yaml-cpp's own words, and for what people run into, what to do about it.
void report_syntax(const YAML::Exception& error, std::string_view text, Diagnostics& diagnostics) {
  Position at = position(error.mark);
  if (error.mark.is_null()) at = {.line = 1, .column = 1};
  std::size_t start = 0;
  for (int line = 1; line < at.line && start != std::string_view::npos; ++line) {
    start = text.find('\n', start);
    if (start != std::string_view::npos) ++start;
  }
  const std::string_view line =
      start == std::string_view::npos ? "" : text.substr(start, text.find('\n', start) - start);
  const auto indent = line.substr(0, line.find_first_not_of(" \t"));
  const bool tab = indent.find('\t') != std::string_view::npos;
  diagnostics.add(at, "YAML: {}{}", error.msg, tab ? "; the line is indented by a tab, YAML wants spaces" : "");
}

}  // namespace

std::string_view describe(YamlNode::Kind kind) {
  switch (kind) {
    case Kind::kNothing:
      return "nothing";
    case Kind::kScalar:
      return "a single value";
    case Kind::kSequence:
      return "a list";
    case Kind::kMap:
      return "a map";
    case Kind::kRejected:
      return "an alias";
  }
  return "";
}

std::vector<YamlNode> read_documents(std::string_view text, Diagnostics& diagnostics) {
  std::vector<YamlNode> documents;
  if (text.size() > kMaxFileBytes) {
    diagnostics.add({}, "larger than {} KiB: not a scenario", kMaxFileBytes / 1024);
    return documents;
  }
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (!check_text(text, diagnostics)) return documents;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(diagnostics);
    std::optional<Position> last_start;
    while (parser.HandleNextDocument(builder)) {
      auto document = builder.take();
      // A token that no document can begin with (a ',' outside of brackets) yaml-cpp never consumes: it gives an empty
      // document without end.
      if (last_start == builder.start()) {
        if (!documents.empty()) documents.pop_back();
        diagnostics.add(builder.start(), "YAML: what begins here belongs to no scenario");
        break;
      }
      last_start = builder.start();
      if (document) documents.push_back(*std::move(document));
    }
  } catch (const BoundReached&) {
    // Reported where it was thrown.
  } catch (const YAML::Exception& error) {
    report_syntax(error, text, diagnostics);
  } catch (const std::exception& error) {
    diagnostics.add({}, "YAML: {}", error.what());
  }
  return documents;
}

}  // namespace panicroom::harness
