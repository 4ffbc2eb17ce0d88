// The code between a kernel that crashed and its capture kernel: see capture_entry.S.
#pragma once

#include <cstddef>
#include <vector>

#include "base/address.h"

namespace panicroom::kexec {

// To be put at the beginning of a page, and entered at its first byte. Fits into a page with room for its stack.
std::vector<std::byte> capture_entry(Gpa boot_params, Gpa kernel);

}  // namespace panicroom::kexec
