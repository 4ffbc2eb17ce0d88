// Puts the segments of an ELF64 file (a Linux vmlinux, or a test's small guest) where their physical addresses say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/kvm/memory/guest_memory.h"

namespace panicroom::kvm {

// [begin, end) in guest-physical memory.
struct GpaRange {
  Gpa begin;
  Gpa end;

  [[nodiscard]] bool overlaps(const GpaRange& other) const { return begin < other.end && other.begin < end; }
};

struct LoadedElf {
  Gpa entry;  // e_entry, which is a physical address in a vmlinux.
  Gpa end;    // Of the highest segment.
};

// The file's content is hostile: kInvalidInput if a segment is not all in RAM, in the first 4 GiB, clear of the others
// and of `taken`, or if the entry lies in none; kUnsupported for another architecture. What it wrote before it failed
// stays.
Result<LoadedElf> load_elf(GuestMemory& memory, std::vector<std::byte> file, std::span<const GpaRange> taken);

}  // namespace panicroom::kvm
