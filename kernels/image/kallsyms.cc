#include "kernels/image/kallsyms.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace panicroom::kernels {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kTokens = 256;
constexpr std::size_t kSymbolsPerMarker = 256;
// KSYM_NAME_LEN is 128 in 5.10 and 512 from 6.1 on; the type and a spare byte on top.
constexpr std::size_t kMaxName = 512 + 2;
// A token is at most as long as a name. The whole table of a kernel has about 1 KiB.
constexpr std::size_t kMaxToken = kMaxName;
// Five times what a distribution kernel has; modules do not count.
constexpr std::size_t kMaxSymbols = 1'000'000;
constexpr std::size_t kMaxMarkers = kMaxSymbols / kSymbolsPerMarker;
constexpr std::size_t kMaxNameBytes = std::size_t{64} << 20;
// What bounds the time on hostile input. A real kernel has one or two runs of digits, one token table, and takes about
// as many steps as it has names.
constexpr int kMaxDigitRuns = 4096;
constexpr int kMaxTokenTables = 16;
constexpr std::size_t kMaxNameSteps = 20'000'000;
// The tokens '0' to '9' stand for themselves, because their characters occur in symbols.
constexpr std::string_view kDigits = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009\0"sv;
constexpr std::size_t kFirstDigit = '0';

// Offsets are into `data`, the file content of one segment.
struct TokenTable {
  std::size_t begin = 0;
  std::size_t end = 0;  // Of the token index behind it.
  std::array<std::string_view, kTokens> tokens;
};

struct NameTable {
  std::size_t count_at = 0;  // Where the number of symbols stands.
  std::size_t count = 0;
  std::size_t begin = 0;
  bool long_names = false;  // A length byte with its top bit set has a second byte (6.1 and newer).
};

std::size_t align_up(std::size_t offset, std::size_t alignment) { return (offset + alignment - 1) & ~(alignment - 1); }

// The token table around the digits at `digits_at`. The token index behind it holds each token's offset (u16), so it
// tells where the table begins, and every token in it can be checked.
std::optional<TokenTable> token_table_at(Bytes data, std::size_t digits_at) {
  // Forward over the tokens from '0' to the last.
  std::array<std::size_t, kTokens> position{};
  std::size_t at = digits_at;
  for (std::size_t i = kFirstDigit; i < kTokens; ++i) {
    const std::string_view rest = as_text(data.subspan(at)).substr(0, kMaxToken);
    const std::size_t length = rest.find('\0');
    if (length == std::string_view::npos) return std::nullopt;
    position[i] = at;
    at += length + 1;
  }
  for (const std::size_t alignment : {std::size_t{2}, std::size_t{4}, std::size_t{8}}) {
    const std::size_t index_at = align_up(at, alignment);
    const auto index = [&](std::size_t token) { return load<std::uint16_t>(data, index_at + token * 2); };
    const auto digit_offset = index(kFirstDigit);
    if (index(0) != 0 || !index(kTokens - 1) || *digit_offset > digits_at) continue;
    TokenTable table;
    table.begin = digits_at - *digit_offset;
    table.end = index_at + kTokens * 2;
    bool holds = true;
    for (std::size_t i = 0; i < kTokens && holds; ++i) {
      const std::size_t token_at = table.begin + *index(i);
      if (token_at >= at || (i >= kFirstDigit && token_at != position[i])) {
        holds = false;
        break;
      }
      const std::string_view rest = as_text(data.subspan(token_at, at - token_at));
      table.tokens[i] = rest.substr(0, rest.find('\0'));
      // The tokens stand one behind the other.
      holds = i + 1 == kTokens || table.begin + *index(i + 1) == token_at + table.tokens[i].size() + 1;
    }
    if (holds) return table;
  }
  return std::nullopt;
}

// One name's place in the name table: its tokens, and where the next name begins.
struct PackedName {
  Bytes tokens;
  std::size_t next;
};

std::optional<PackedName> packed_name_at(Bytes data, std::size_t at, bool long_names) {
  const auto low = load<std::uint8_t>(data, at);
  if (!low) return std::nullopt;
  std::size_t length = *low;
  std::size_t begin = at + 1;
  if (long_names && (*low & 0x80)) {
    const auto high = load<std::uint8_t>(data, at + 1);
    if (!high) return std::nullopt;
    length = (*low & 0x7fu) | static_cast<std::size_t>(*high) << 7;
    begin = at + 2;
  }
  if (length == 0 || length > kMaxName) return std::nullopt;
  const auto tokens = slice(data, begin, length);
  if (!tokens) return std::nullopt;
  return PackedName{*tokens, begin + length};
}

// Every 256th name's offset (u32), from 0.
struct MarkerTable {
  std::size_t begin = 0;
  std::size_t count = 0;

  [[nodiscard]] std::size_t marker(Bytes data, std::size_t index) const {
    return *load<std::uint32_t>(data, begin + index * sizeof(std::uint32_t));
  }
};

// Can `count` markers end at `end`? Each is at least 256 of the shortest names (a length and a token) behind the one
// before.
std::optional<MarkerTable> markers_ending_at(Bytes data, std::size_t end, std::size_t count) {
  if (count < 2 || end / sizeof(std::uint32_t) < count) return std::nullopt;
  const MarkerTable table{end - count * sizeof(std::uint32_t), count};
  if (table.marker(data, 0) != 0) return std::nullopt;
  for (std::size_t i = 1; i < count; ++i) {
    const std::size_t before = table.marker(data, i - 1);
    const std::size_t marker = table.marker(data, i);
    if (marker < before + 2 * kSymbolsPerMarker || marker > before + kSymbolsPerMarker * kMaxName) return std::nullopt;
  }
  return table;
}

// As many markers as there are up to `end`: back to the 0 that begins them.
std::optional<MarkerTable> markers_before(Bytes data, std::size_t end) {
  std::size_t count = 1;
  while (count <= kMaxMarkers && count * sizeof(std::uint32_t) <= end &&
         *load<std::uint32_t>(data, end - count * sizeof(std::uint32_t)) != 0) {
    ++count;
  }
  return markers_ending_at(data, end, count);
}

// Walks all names from `begin`; true if every 256th stands where its marker says and the last ends, but for padding, at
// the markers. Takes its steps from `budget`.
bool names_fit(Bytes data, std::size_t begin, std::size_t count, bool long_names, const MarkerTable& markers,
               std::size_t& budget) {
  std::size_t at = begin;
  for (std::size_t i = 0; i < count; ++i) {
    if (budget == 0) return false;
    --budget;
    if (i % kSymbolsPerMarker == 0 && at - begin != markers.marker(data, i / kSymbolsPerMarker)) return false;
    const auto name = packed_name_at(data, at, long_names);
    if (!name || name->next > markers.begin) return false;
    at = name->next;
  }
  constexpr std::size_t kMaxPadding = 8;
  const Bytes padding = data.subspan(at, markers.begin - at);
  return padding.size() < kMaxPadding &&
         std::all_of(padding.begin(), padding.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

// Names lie before the markers, and before them their number. Where they begin is not told: the last marker leaves room
// for at most 256 names behind it, and in that window a beginning must have a fitting number before it and fitting
// names.
std::optional<NameTable> names_before(Bytes data, const MarkerTable& markers, std::size_t& budget) {
  const std::size_t last = markers.marker(data, markers.count - 1);
  if (last >= markers.begin) return std::nullopt;
  const std::size_t latest = markers.begin - last;
  const std::size_t window = kSymbolsPerMarker * kMaxName;
  const std::size_t earliest = latest > window ? latest - window : 0;
  for (std::size_t begin = latest & ~std::size_t{3}; begin >= earliest && begin >= sizeof(std::uint32_t); begin -= 4) {
    if (budget == 0) return std::nullopt;
    --budget;
    for (const std::size_t distance : {std::size_t{4}, std::size_t{8}}) {
      if (begin < distance) continue;
      const std::size_t count = *load<std::uint32_t>(data, begin - distance);
      if (count == 0 || (count - 1) / kSymbolsPerMarker + 1 != markers.count) continue;
      if (distance == 8 && load<std::uint32_t>(data, begin - 4) != 0) continue;
      for (const bool long_names : {true, false}) {
        if (names_fit(data, begin, count, long_names, markers, budget)) {
          return NameTable{begin - distance, count, begin, long_names};
        }
      }
    }
  }
  return std::nullopt;
}

std::optional<NameTable> find_names(Bytes data, std::size_t token_table_begin) {
  std::size_t budget = kMaxNameSteps;
  for (const std::size_t padding : {std::size_t{0}, std::size_t{4}}) {
    if (token_table_begin < padding) continue;
    if (const auto markers = markers_before(data, token_table_begin - padding)) {
      if (const auto names = names_before(data, *markers, budget)) return names;
    }
  }
  // Between markers and tokens there may be kallsyms_seqs_of_names: three bytes for each symbol. Its size tells, but
  // for its padding, how many markers there must be before it.
  constexpr std::size_t kSequenceSize = 3;
  constexpr std::size_t kMaxPadding = 12;  // Behind the markers up to 4, behind the sequences up to 7.
  for (std::size_t gap = token_table_begin % 4 + 4;
       gap <= std::min(token_table_begin, kMaxSymbols * kSequenceSize) && budget != 0; gap += 4) {
    const std::size_t most = gap / kSequenceSize;
    const std::size_t least = gap < kMaxPadding ? 1 : (gap - kMaxPadding) / kSequenceSize + 1;
    std::size_t tried = 0;
    for (std::size_t count = least; count <= most; ++count) {
      const std::size_t marker_count = (count - 1) / kSymbolsPerMarker + 1;
      if (marker_count == tried) continue;
      tried = marker_count;
      const auto markers = markers_ending_at(data, token_table_begin - gap, marker_count);
      if (!markers) continue;
      const auto names = names_before(data, *markers, budget);
      if (names && least <= names->count && names->count <= most) return names;
    }
  }
  return std::nullopt;
}

// All names, unpacked; a name's first character is its symbol's type.
struct Names {
  std::string text;
  std::vector<std::size_t> begins;  // One more than there are names.

  [[nodiscard]] std::string_view name(std::size_t index) const {
    return std::string_view(text).substr(begins[index], begins[index + 1] - begins[index]);
  }
};

Result<Names> unpack_names(Bytes data, const NameTable& table, const TokenTable& tokens) {
  Names names;
  names.begins.reserve(table.count + 1);
  std::size_t at = table.begin;
  for (std::size_t i = 0; i < table.count; ++i) {
    const auto packed = packed_name_at(data, at, table.long_names);
    if (!packed) return invalid_input("kallsyms: name {} of {} is cut off", i, table.count);
    at = packed->next;
    names.begins.push_back(names.text.size());
    for (const std::byte token : packed->tokens) {
      names.text += tokens.tokens[std::to_integer<std::size_t>(token)];
      if (names.text.size() - names.begins.back() > kMaxName) {
        return invalid_input("kallsyms: name {} of {} is longer than {} bytes", i, table.count, kMaxName);
      }
    }
    if (names.text.size() > kMaxNameBytes)
      return invalid_input("kallsyms: the names have more than {} bytes", kMaxNameBytes);
    const std::string_view name = std::string_view(names.text).substr(names.begins.back());
    if (name.size() < 2 || !std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; }) ||
        std::string_view("tTdDbBrRaAwWvVuUnNiIcCsSgGpP?-").find(name[0]) == std::string_view::npos) {
      return invalid_input("kallsyms: name {} of {} is no symbol's name", i, table.count);
    }
  }
  names.begins.push_back(names.text.size());
  return names;
}

enum class Meaning { kAbsolutePerCpu, kUnsigned, kSelfRelative };

struct Hypothesis {
  KallsymsLayout layout;
  Meaning meaning;
  bool first;  // The address table stands before the names.
};

constexpr std::array kHypotheses{
    Hypothesis{KallsymsLayout::kOffsetsFirstAbsolutePerCpu, Meaning::kAbsolutePerCpu, true},
    Hypothesis{KallsymsLayout::kOffsetsLastAbsolutePerCpu, Meaning::kAbsolutePerCpu, false},
    Hypothesis{KallsymsLayout::kOffsetsLastUnsigned, Meaning::kUnsigned, false},
    Hypothesis{KallsymsLayout::kOffsetsLastSelfRelative, Meaning::kSelfRelative, false},
    Hypothesis{KallsymsLayout::kOffsetsFirstUnsigned, Meaning::kUnsigned, true},
};

// Where the address table and the relative base are, for one alignment of the labels.
struct Places {
  std::size_t offsets = 0;
  std::size_t base = 0;
};

std::optional<Places> places(const Hypothesis& hypothesis, const NameTable& names, const TokenTable& tokens,
                             std::size_t alignment) {
  const std::size_t size = names.count * sizeof(std::int32_t);
  if (hypothesis.first) {
    if (names.count_at < sizeof(std::uint64_t) + align_up(size, alignment)) return std::nullopt;
    const std::size_t base = names.count_at - sizeof(std::uint64_t);
    return Places{base - align_up(size, alignment), base};
  }
  const std::size_t offsets = align_up(tokens.end, alignment);
  return Places{offsets, align_up(offsets + size, alignment)};
}

// The symbols' addresses under one hypothesis, or nothing if they cannot be: the tables do not fit, or the addresses
// are not ascending, as scripts/kallsyms.c sorts them.
std::optional<std::vector<LinkAddress>> addresses(Bytes data, LinkAddress data_begins_at, const Hypothesis& hypothesis,
                                                  const Places& where, std::size_t count) {
  const auto table = slice(data, where.offsets, count * sizeof(std::int32_t));
  const auto base = load<std::uint64_t>(data, where.base);
  if (!table || (!base && hypothesis.meaning != Meaning::kSelfRelative)) return std::nullopt;
  std::vector<LinkAddress> result;
  result.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto entry = *load<std::int32_t>(*table, i * sizeof(std::int32_t));
    LinkAddress address;
    switch (hypothesis.meaning) {
      case Meaning::kAbsolutePerCpu:
        // kernel/kallsyms.c, kallsyms_sym_address().
        address.value = entry >= 0 ? static_cast<std::uint64_t>(entry)
                                   : *base - 1 + static_cast<std::uint64_t>(-static_cast<std::int64_t>(entry));
        break;
      case Meaning::kUnsigned:
        address.value = *base + static_cast<std::uint32_t>(entry);
        break;
      case Meaning::kSelfRelative:
        address = data_begins_at + where.offsets + i * sizeof(std::int32_t) +
                  static_cast<std::uint64_t>(static_cast<std::int64_t>(entry));
        break;
    }
    if (!result.empty() && address < result.back()) return std::nullopt;
    result.push_back(address);
  }
  return result;
}

// Where a symbol of type t may be: nm(1) goes by the section's code flag alone, which .data has too from 6.16 on.
std::vector<LinkRange> code_ranges(const ElfImage& elf) {
  std::vector<LinkRange> ranges;
  for (const Section& section : elf.sections()) {
    if (section.executable()) ranges.push_back(section.range);
  }
  if (ranges.empty()) ranges.assign(elf.text_ranges().begin(), elf.text_ranges().end());
  return ranges;
}

// Are these the addresses? The sections and the contents of the image decide: nearly every symbol of type t lies where
// code may be, and linux_banner is where the banner is.
bool plausible(const ElfImage& elf, const Names& names, const std::vector<LinkAddress>& at) {
  std::vector<LinkRange> code = code_ranges(elf);
  // Hostile files may have thousands; kernels have up to ten.
  constexpr std::size_t kMaxRanges = 64;
  if (code.size() > kMaxRanges) code.resize(kMaxRanges);
  std::size_t text = 0;
  std::size_t text_in_place = 0;
  bool banner = false;
  for (std::size_t i = 0; i < at.size(); ++i) {
    const std::string_view name = names.name(i);
    if (name[0] == 't' || name[0] == 'T') {
      ++text;
      // The end counts too: marks like _etext stand there.
      text_in_place += std::any_of(code.begin(), code.end(),
                                   [&](const LinkRange& range) { return range.begin <= at[i] && at[i] <= range.end; });
    }
    if (name.substr(1) == "linux_banner") {
      constexpr std::string_view kBanner = "Linux version ";
      const auto bytes = elf.bytes_at(at[i], kBanner.size());
      if (!bytes || as_text(*bytes) != kBanner) return false;
      banner = true;
    }
  }
  return banner && text != 0 && text_in_place >= text - text / 50;
}

Result<Kallsyms> decode_at(const ElfImage& elf, const Segment& segment, const TokenTable& tokens) {
  const Bytes data = segment.content;
  const auto table = find_names(data, tokens.begin);
  if (!table) {
    return invalid_input("kallsyms: there is a token table at {}, but no markers and names before it that fit together",
                         segment.range.begin + tokens.begin);
  }
  const Names names = TRY(unpack_names(data, *table, tokens));
  std::vector<LinkRange> loaded;
  for (const Segment& each : elf.segments()) loaded.push_back(each.range);
  for (const Hypothesis& hypothesis : kHypotheses) {
    for (const std::size_t alignment : {std::size_t{4}, std::size_t{8}}) {
      const auto where = places(hypothesis, *table, tokens, alignment);
      if (!where) continue;
      const auto at = addresses(data, segment.range.begin, hypothesis, *where, table->count);
      if (!at || !plausible(elf, names, *at)) continue;
      SymbolTable::Builder builder;
      builder.reserve(table->count, names.text.size());
      for (std::size_t i = 0; i < table->count; ++i) {
        const std::string_view name = names.name(i);
        builder.add((*at)[i], name[0], name.substr(1));
      }
      return Kallsyms{std::move(builder).build(elf.text_ranges(), loaded), hypothesis.layout};
    }
  }
  return invalid_input(
      "kallsyms: {} names, but no known layout of the address table fits the image's sections and linux_banner",
      table->count);
}

}  // namespace

std::string_view kallsyms_layout_name(KallsymsLayout layout) {
  switch (layout) {
    case KallsymsLayout::kOffsetsFirstAbsolutePerCpu:
      return "offsets first, absolute per-CPU";
    case KallsymsLayout::kOffsetsLastAbsolutePerCpu:
      return "offsets last, absolute per-CPU";
    case KallsymsLayout::kOffsetsLastUnsigned:
      return "offsets last, unsigned";
    case KallsymsLayout::kOffsetsLastSelfRelative:
      return "offsets last, self-relative";
    case KallsymsLayout::kOffsetsFirstUnsigned:
      return "offsets first, unsigned";
  }
  return "unknown";
}

Result<Kallsyms> decode_kallsyms(const ElfImage& elf) {
  std::optional<Error> nearest;  // Why the last candidate failed.
  int runs = 0;
  int tables = 0;
  for (const Segment& segment : elf.segments()) {
    const Bytes data = segment.content;
    std::size_t at = 0;
    while (runs < kMaxDigitRuns && tables < kMaxTokenTables) {
      const std::size_t hit = as_text(data).find(kDigits, at);
      if (hit == std::string_view::npos) break;
      ++runs;
      if (const auto tokens = token_table_at(data, hit)) {
        ++tables;
        Result<Kallsyms> decoded = decode_at(elf, segment, *tokens);
        if (decoded) return decoded;
        nearest = std::move(decoded).error();
      }
      at = hit + 1;
    }
  }
  if (nearest) return *std::move(nearest);
  return unsupported("the kernel has no symbol table (kallsyms): it was built without CONFIG_KALLSYMS");
}

}  // namespace panicroom::kernels
