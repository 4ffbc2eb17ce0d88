// The kernel's pseudo file systems, as far as the agent needs them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "agent/guest/channel.h"

namespace panicroom::agent {

// /proc, /sys and /dev (devtmpfs).
Outcome<> mount_pseudo_file_systems();

// The beginning of a small file, without white space at its end; nothing if it cannot be read.
std::optional<std::string> read_small_file(const char* path);
// The decimal number that is all of a file.
std::optional<std::uint64_t> read_number(const char* path);
// False if the file is not there or refuses.
bool write_small_file(const char* path, const char* text);

// How many CPUs a list such as "0-3,7" names; 0 if it is no such list.
std::uint32_t count_cpu_list(const std::string& list);

}  // namespace panicroom::agent
