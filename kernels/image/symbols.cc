#include "kernels/image/symbols.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <tuple>
#include <utility>

namespace panicroom::kernels {
namespace {

// The boundary marks that the linker script sets: they share the address of the first real thing behind them.
bool is_boundary_mark(std::string_view name) {
  constexpr std::array<std::string_view, 7> kMarks{"_text",      "_stext", "_etext", "_sinittext",
                                                   "_einittext", "_sdata", "_edata"};
  if (std::find(kMarks.begin(), kMarks.end(), name) != kMarks.end()) return true;
  return name.starts_with("__") && (name.ends_with("_start") || name.ends_with("_end") || name.ends_with("_begin"));
}

// Of two symbols at one address, the lesser is the one that a reader expects: a real function rather than a boundary
// mark or a padding symbol, global rather than weak rather than local; then, for one answer always, the shorter, then
// the name.
auto alias_rank(const Symbol& symbol) {
  const bool artificial =
      is_boundary_mark(symbol.name) || symbol.name.starts_with("__pfx_") || symbol.name.starts_with("__cfi_");
  const bool weak = symbol.type == 'w' || symbol.type == 'W' || symbol.type == 'v' || symbol.type == 'V';
  const bool global = std::isupper(static_cast<unsigned char>(symbol.type)) != 0;
  const int binding = weak ? 1 : global ? 0 : 2;
  return std::tuple(artificial, binding, symbol.name.size(), symbol.name);
}

bool preferred_alias(const Symbol& a, const Symbol& b) { return alias_rank(a) < alias_rank(b); }

// The last index in `indices` whose symbol is at or below the address, or indices.end().
auto at_or_below(const std::vector<std::uint32_t>& indices, const std::vector<Symbol>& symbols, LinkAddress address) {
  const auto after = std::upper_bound(indices.begin(), indices.end(), address,
                                      [&](LinkAddress a, std::uint32_t index) { return a < symbols[index].address; });
  return after == indices.begin() ? indices.end() : std::prev(after);
}

const LinkRange* range_at(std::span<const LinkRange> ranges, LinkAddress address) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                      [](LinkAddress a, const LinkRange& range) { return a < range.begin; });
  if (after == ranges.begin() || !std::prev(after)->contains(address)) return nullptr;
  return &*std::prev(after);
}

}  // namespace

void SymbolTable::Builder::reserve(std::size_t symbols, std::size_t name_bytes) {
  entries_.reserve(symbols);
  names_.reserve(name_bytes);
}

void SymbolTable::Builder::add(LinkAddress address, char type, std::string_view name) {
  entries_.push_back({address, names_.size(), static_cast<std::uint32_t>(name.size()), type});
  names_.insert(names_.end(), name.begin(), name.end());
}

SymbolTable SymbolTable::Builder::build(std::span<const LinkRange> text_ranges,
                                        std::span<const LinkRange> loaded_ranges) && {
  SymbolTable table;
  table.names_ = std::move(names_);
  table.text_ranges_.assign(text_ranges.begin(), text_ranges.end());
  table.loaded_ranges_.assign(loaded_ranges.begin(), loaded_ranges.end());
  table.by_address_.reserve(entries_.size());
  const std::string_view names(table.names_.data(), table.names_.size());
  for (const Entry& entry : entries_) {
    table.by_address_.push_back({entry.address, names.substr(entry.name_begin, entry.name_length), entry.type,
                                 range_at(text_ranges, entry.address) != nullptr});
  }
  // Stable, so that symbols at one address keep the order that the kernel itself lists them in.
  std::stable_sort(table.by_address_.begin(), table.by_address_.end(),
                   [](const Symbol& a, const Symbol& b) { return a.address < b.address; });
  table.by_name_ = table.by_address_;
  std::sort(table.by_name_.begin(), table.by_name_.end(), [](const Symbol& a, const Symbol& b) {
    return std::tie(a.name, a.address, a.type) < std::tie(b.name, b.address, b.type);
  });

  for (std::uint32_t i = 0; i < table.by_address_.size(); ++i) {
    const Symbol& symbol = table.by_address_[i];
    std::vector<std::uint32_t>& indices = symbol.text ? table.text_ : table.data_;
    if (indices.empty() || table.by_address_[indices.back()].address != symbol.address) {
      indices.push_back(i);
    } else if (preferred_alias(symbol, table.by_address_[indices.back()])) {
      indices.back() = i;
    }
  }
  return table;
}

std::span<const Symbol> SymbolTable::find(std::string_view name) const {
  struct ByName {
    bool operator()(const Symbol& symbol, std::string_view n) const { return symbol.name < n; }
    bool operator()(std::string_view n, const Symbol& symbol) const { return n < symbol.name; }
  };
  const auto [begin, end] = std::equal_range(by_name_.begin(), by_name_.end(), name, ByName{});
  return {begin, end};
}

Result<Symbol> SymbolTable::unique(std::string_view name) const {
  const std::span<const Symbol> found = find(name);
  if (found.empty()) return unsupported("the kernel has no symbol '{}'", name);
  if (found.front().address == found.back().address) return found.front();
  constexpr std::size_t kListed = 8;
  std::string addresses;
  for (const Symbol& symbol : found.first(std::min(found.size(), kListed))) {
    addresses += fmt::format("{}{}", addresses.empty() ? "" : ", ", symbol.address);
  }
  if (found.size() > kListed) addresses += ", ...";
  return unsupported("the symbol '{}' is ambiguous: the kernel has {} of that name (at {})", name, found.size(),
                     addresses);
}

std::optional<SymbolOffset> SymbolTable::containing(LinkAddress address) const {
  const LinkRange* range = range_at(text_ranges_, address);
  const std::vector<std::uint32_t>& indices = range != nullptr ? text_ : data_;
  const auto found = at_or_below(indices, by_address_, address);
  if (found == indices.end()) return std::nullopt;
  const Symbol& symbol = by_address_[*found];
  if (range != nullptr) {
    if (!range->contains(symbol.address)) return std::nullopt;
  } else if (std::none_of(loaded_ranges_.begin(), loaded_ranges_.end(), [&](const LinkRange& loaded) {
               return loaded.contains(address) && loaded.contains(symbol.address);
             })) {
    return std::nullopt;
  }
  return SymbolOffset{symbol, address - symbol.address};
}

std::optional<LinkRange> SymbolTable::extent(const Symbol& symbol) const {
  const LinkRange* range = range_at(text_ranges_, symbol.address);
  if (range == nullptr) return std::nullopt;
  const auto next =
      std::upper_bound(text_.begin(), text_.end(), symbol.address,
                       [&](LinkAddress a, std::uint32_t index) { return a < by_address_[index].address; });
  LinkAddress end = range->end;
  if (next != text_.end()) end = std::min(end, by_address_[*next].address);
  return LinkRange{symbol.address, end};
}

}  // namespace panicroom::kernels
