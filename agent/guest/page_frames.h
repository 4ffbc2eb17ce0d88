// Where this process's memory lies in the guest's.
#pragma once

#include <cstddef>
#include <vector>

#include "base/address.h"

namespace panicroom::agent {

// The guest-physical addresses of `pages` pages from `begin` on, which must be locked into memory, or empty if the
// kernel does not tell (no CONFIG_PROC_PAGE_MONITOR, or not PID 1's rights).
std::vector<Gpa> page_frames(const void* begin, std::size_t pages);

// Has the kernel leave locked pages where they are. Without effect where it does not compact memory.
void keep_locked_pages_in_place();

}  // namespace panicroom::agent
