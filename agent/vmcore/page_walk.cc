#include "agent/vmcore/page_walk.h"

#include <cstring>

namespace panicroom::vmcore {
namespace {

constexpr std::uint64_t kPresent = 1U << 0;
constexpr std::uint64_t kLargePage = 1U << 7;  // In a table of level 2 or 3.
constexpr std::uint64_t kFrameMask = 0x000f'ffff'ffff'f000;
constexpr unsigned kPageBits = 12;
constexpr unsigned kBitsOfLevel = 9;

}  // namespace

Result<PageWalk> walk_page_tables(Gpa top, unsigned levels, Gva address, const ReadPhysical& read) {
  PageWalk walk;
  Gpa table{top.value & kFrameMask};
  for (unsigned level = levels; level > 0; --level) {
    walk.tables.push_back(table);
    const unsigned shift = kPageBits + kBitsOfLevel * (level - 1);
    const std::uint64_t slot = (address.value >> shift) & ((1U << kBitsOfLevel) - 1);
    std::uint64_t entry = 0;
    TRY(read(table + slot * sizeof(entry), std::as_writable_bytes(std::span(&entry, 1))));
    if ((entry & kPresent) == 0) return walk;
    if (level == 1 || ((level == 2 || level == 3) && (entry & kLargePage) != 0)) {
      const std::uint64_t within = (std::uint64_t{1} << shift) - 1;
      walk.target = Gpa{(entry & kFrameMask & ~within) | (address.value & within)};
      return walk;
    }
    table = Gpa{entry & kFrameMask};
  }
  return walk;
}

}  // namespace panicroom::vmcore
