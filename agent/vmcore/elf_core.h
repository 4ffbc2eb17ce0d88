// The ELF core file that /proc/vmcore is: header, program headers, notes, and reading by the dead kernel's addresses.
//
// The dead kernel wrote the notes and its tables while dying: everything in the file is hostile input. Every offset is
// checked, memory is bounded by the constants below. Left out: what the notes' contents mean (prstatus.h,
// vmcoreinfo.h).
//
// Layout: System V ABI, ELF-64 Object File Format; Linux's Documentation/admin-guide/kdump and fs/proc/vmcore.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::vmcore {

// __START_KERNEL_map: where x86-64 maps the kernel's image, at phys_base in physical memory.
inline constexpr Gva kKernelTextMapping{0xffffffff80000000};

// Where the bytes come from: /proc/vmcore, a file, a buffer in a test.
class Reader {
 public:
  virtual ~Reader() = default;
  // Fills all of `out` from `offset` on, or fails.
  virtual Result<> read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
};

// A PT_LOAD program header: a piece of the dead kernel's memory.
struct LoadSegment {
  std::uint64_t file_offset = 0;
  Gva virtual_address;
  Gpa physical_address;
  std::uint64_t file_bytes = 0;  // p_filesz
};

struct Note {
  std::uint32_t type = 0;
  std::string name;  // Without its terminating zero.
  std::vector<std::byte> content;
};

// Of all notes of a file together: a CPU's NT_PRSTATUS takes 356 bytes, so this holds those of more CPUs than x86 can
// have.
inline constexpr std::uint64_t kMaxNoteBytes = 8UL * 1024 * 1024;
inline constexpr std::size_t kMaxNotes = 65536;

// The headers of an x86-64 ELF core file. Immutable once opened; keeps a reference to the reader, which must outlive
// it.
class ElfCore {
 public:
  // kInvalidInput, naming the field, if the file is no ELF-64 x86-64 core or its program headers are not all there.
  static Result<ElfCore> open(const Reader& reader);

  [[nodiscard]] const std::vector<LoadSegment>& loads() const { return loads_; }
  [[nodiscard]] std::size_t note_segments() const { return note_segments_.size(); }
  // The notes of all PT_NOTE segments, in the file's order. What is damaged ends the segment it is in: `damage` then
  // says how, and what came before is kept.
  [[nodiscard]] std::vector<Note> read_notes(std::string& damage) const;

  // Reads the dead kernel's memory. A virtual address is looked for in the segments' virtual addresses first, then, if
  // it lies in the kernel's text mapping, by phys_base (vmcoreinfo's NUMBER(phys_base)) in their physical ones.
  Result<> read_virtual(Gva address, std::span<std::byte> out) const;
  Result<> read_physical(Gpa address, std::span<std::byte> out) const;
  void set_phys_base(std::int64_t phys_base) { phys_base_ = phys_base; }

 private:
  struct FileRange {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };

  explicit ElfCore(const Reader& reader) : reader_(&reader) {}

  const Reader* reader_;
  std::vector<LoadSegment> loads_;
  std::vector<FileRange> note_segments_;
  std::int64_t phys_base_ = 0;
};

}  // namespace panicroom::vmcore
