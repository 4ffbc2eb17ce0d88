// The dead kernel's page tables: where a virtual address lies in physical memory, by tables that lie there too.
// Intel SDM Vol. 3A, 4.5 "4-level paging and 5-level paging".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace panicroom::vmcore {

inline constexpr std::uint64_t kPageBytes = 4096;

// Bits of an entry that the CPU itself sets as it uses it, so that they may change behind anybody's back: accessed and
// dirty (SDM Vol. 3A, 4.8).
inline constexpr std::uint64_t kAccessedAndDirty = (1U << 5) | (1U << 6);

// Fills all of `out`, or fails.
using ReadPhysical = std::function<Result<>(Gpa at, std::span<std::byte> out)>;

struct PageWalk {
  std::vector<Gpa> tables;    // The pages that were looked into, the top-level one first; at most five.
  std::optional<Gpa> target;  // Nothing if the address is not mapped.
};

// `top` is the top-level table's page, `levels` 4 or 5. Fails if a table cannot be read.
Result<PageWalk> walk_page_tables(Gpa top, unsigned levels, Gva address, const ReadPhysical& read);

}  // namespace panicroom::vmcore
