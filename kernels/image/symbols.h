// A kernel's symbols: by name, by address, and the extents of its functions.
// Leaves out where they come from (kallsyms.h) and modules' symbols.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "kernels/image/elf_image.h"

namespace panicroom::kernels {

// One line of System.map. The name lives as long as its SymbolTable.
struct Symbol {
  LinkAddress address;
  std::string_view name;
  char type =
      '?';  // As nm(1) has it: T and t text, D and d data, A and a absolute (per-CPU offsets, up to 6.14), W weak, ...
  bool text = false;  // The address lies in an executable section. Truer than `type`: W may be either.

  friend bool operator==(const Symbol&, const Symbol&) = default;
};

// A symbol and how far behind its beginning an address lies: "panic+0x3b".
struct SymbolOffset {
  Symbol symbol;
  std::uint64_t offset = 0;
};

// Immutable once built; movable, not copyable, and names stay valid when it is moved. Thread-safe.
class SymbolTable {
 public:
  class Builder;

  SymbolTable(SymbolTable&&) = default;
  SymbolTable& operator=(SymbolTable&&) = default;
  SymbolTable(const SymbolTable&) = delete;
  SymbolTable& operator=(const SymbolTable&) = delete;

  // Every symbol of that name, by ascending address: static functions of different files may share one. O(log n).
  [[nodiscard]] std::span<const Symbol> find(std::string_view name) const;

  // The one symbol of that name. Several of one name at one address are one symbol. Errors are kUnsupported, because it
  // is this kernel that does not have it: "the kernel has no symbol ..." (find() is empty) or "symbol ... is ambiguous:
  // ...".
  [[nodiscard]] Result<Symbol> unique(std::string_view name) const;

  // The function that an address lies in, or for data the object. In text only text symbols count, and only those of
  // the same section; elsewhere the nearest symbol at or below. Of aliases the one that a reader expects (see
  // preferred_alias() in symbols.cc). Nothing for an address below every symbol, or in text that has no symbol. O(log
  // n).
  [[nodiscard]] std::optional<SymbolOffset> containing(LinkAddress address) const;

  // From a text symbol to the next text symbol at a higher address or to its section's end: the function with its
  // padding. A function that GCC has split (.cold, .part.0) has several symbols, each with extents of its own. Nothing
  // for a symbol that is not in text.
  [[nodiscard]] std::optional<LinkRange> extent(const Symbol& symbol) const;

  // All symbols by ascending address.
  [[nodiscard]] std::span<const Symbol> all() const { return by_address_; }
  [[nodiscard]] std::size_t size() const { return by_address_.size(); }

 private:
  SymbolTable() = default;

  std::vector<char> names_;
  std::vector<Symbol> by_address_;
  std::vector<Symbol> by_name_;
  std::vector<std::uint32_t> text_;  // Indices into by_address_: per address of text the preferred alias, ascending.
  std::vector<std::uint32_t> data_;  // The same for everything that is not text.
  std::vector<LinkRange> text_ranges_;
  std::vector<LinkRange> loaded_ranges_;
};

// Collects symbols and sorts them once.
class SymbolTable::Builder {
 public:
  void reserve(std::size_t symbols, std::size_t name_bytes);
  void add(LinkAddress address, char type, std::string_view name);
  // `text_ranges` are the executable sections, sorted and apart: ElfImage::text_ranges(). `loaded_ranges` are the
  // segments.
  SymbolTable build(std::span<const LinkRange> text_ranges, std::span<const LinkRange> loaded_ranges) &&;

 private:
  struct Entry {
    LinkAddress address;
    std::size_t name_begin;
    std::uint32_t name_length;
    char type;
  };
  std::vector<char> names_;
  std::vector<Entry> entries_;
};

}  // namespace panicroom::kernels
