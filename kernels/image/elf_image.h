// The kernel's ELF, read by its own small bounds-checked reader: the structures are <elf.h>'s, the access
// base/bytes.h's.
//
// Why not libelf: it wants a writable buffer, reads lazily into descriptors that are not thread-safe, and its
// robustness on hostile files has had to be mended time and again, while three tables of fixed-size records are all
// that is needed. Leaves out symbol tables (distribution images are stripped), relocations and notes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kernels {

// [begin, end) in link addresses.
struct LinkRange {
  LinkAddress begin;
  LinkAddress end;

  [[nodiscard]] bool contains(LinkAddress address) const { return begin <= address && address < end; }
  [[nodiscard]] std::uint64_t size() const { return end - begin; }
  friend bool operator==(const LinkRange&, const LinkRange&) = default;
};

// A PT_LOAD. `content` is the part that is in the file; the rest of `range` is zero at start (.bss, .brk).
struct Segment {
  LinkRange range;
  std::uint64_t physical_address = 0;
  std::uint32_t flags = 0;  // PF_X, PF_W, PF_R.
  Bytes content;
};

struct Section {
  std::string name;
  std::uint32_t type = 0;   // SHT_*
  std::uint64_t flags = 0;  // SHF_*
  LinkRange range;          // Empty at address 0 for a section that is not loaded.
  Bytes content;            // Empty for SHT_NOBITS.

  // Loaded, with the flag for code. From 6.16 on that holds for .data too: see ElfImage::text_ranges().
  [[nodiscard]] bool executable() const;
  // Code and nothing else: executable and not writable.
  [[nodiscard]] bool text() const;
};

// Immutable; movable, not copyable, and views into it stay valid when it is moved. Thread-safe.
class ElfImage {
 public:
  // Checks the header (64-bit, little-endian, x86-64, ET_EXEC or ET_DYN) and that every segment and section lies within
  // the file. kUnsupported for another architecture's kernel, which it names; kInvalidInput for a broken file, with the
  // field.
  static Result<ElfImage> parse(std::vector<std::byte> file);

  ElfImage(ElfImage&&) = default;
  ElfImage& operator=(ElfImage&&) = default;
  ElfImage(const ElfImage&) = delete;
  ElfImage& operator=(const ElfImage&) = delete;

  [[nodiscard]] Bytes file() const { return file_; }
  [[nodiscard]] std::uint64_t entry_physical_address() const { return entry_; }
  // The PT_LOADs in the file's order.
  [[nodiscard]] std::span<const Segment> segments() const { return segments_; }
  // In the file's order, the null section left out. Empty if the file has no section headers.
  [[nodiscard]] std::span<const Section> sections() const { return sections_; }
  // The first section of that name, or null.
  [[nodiscard]] const Section* section(std::string_view name) const;

  // The bytes at a link address if all of them are in one segment's file content.
  [[nodiscard]] std::optional<Bytes> bytes_at(LinkAddress address, std::uint64_t size) const;
  // All bytes from a link address to the end of its segment's file content; empty if there are none.
  [[nodiscard]] Bytes bytes_from(LinkAddress address) const;

  // Where code is: one range per executable section, sorted, not merged (.text, .init.text, .altinstr_replacement,
  // ...). By section flags and not by segment flags, because from 6.17 on .init.text lies in a non-executable PT_LOAD.
  // If there are no section headers, the executable segments.
  [[nodiscard]] std::span<const LinkRange> text_ranges() const { return text_ranges_; }
  // The range of text_ranges() that holds the address, or null.
  [[nodiscard]] const LinkRange* text_range_at(LinkAddress address) const;

  // The kernel's type information, or nothing if it was built without (CONFIG_DEBUG_INFO_BTF).
  [[nodiscard]] std::optional<Bytes> btf() const;

 private:
  ElfImage() = default;
  Result<> read_segments();
  Result<> read_sections();
  void find_text();

  std::vector<std::byte> file_;
  std::uint64_t entry_ = 0;
  std::vector<Segment> segments_;
  std::vector<Section> sections_;
  std::vector<LinkRange> text_ranges_;
};

}  // namespace panicroom::kernels
