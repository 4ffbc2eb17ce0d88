// A program of the host's with the shared libraries that it needs, to be put into an initramfs.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"

namespace panicroom::agent {

struct ProgramFile {
  std::string path;  // Where the program and its loader look for it.
  std::vector<std::byte> content;
};

// The file at `path` (absolute), and every library that its loader would load, as ldd(1) tells. kHost, naming what is
// missing, if one cannot be found or read.
Result<std::vector<ProgramFile>> program_with_libraries(const std::string& path);

// The paths in ldd's output: "libz.so.1 => /lib/libz.so.1 (0x...)", "/lib64/ld-linux-x86-64.so.2 (0x...)". kHost if a
// library is "not found".
Result<std::vector<std::string>> parse_ldd(const std::string& output);

}  // namespace panicroom::agent
