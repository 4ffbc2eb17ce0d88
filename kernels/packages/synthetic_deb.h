// For tests: Debian packages made by libarchive, also such as nobody should ever have made.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace panicroom::kernels {

struct SyntheticEntry {
  std::string path;
  std::string content;
  std::string symlink_to;  // Not empty: a symbolic link instead of a file.
  bool directory = false;
};

enum class DebCompression { kNone, kGzip, kXz, kZstd };

// data.tar.* as it is in a package.
std::vector<std::byte> make_data_tar(const std::vector<SyntheticEntry>& entries, DebCompression compression);
// An ar archive of the given members.
std::vector<std::byte> make_ar(const std::vector<std::pair<std::string, std::vector<std::byte>>>& members);
// A whole package: debian-binary, control.tar.xz, data.tar.*.
std::vector<std::byte> make_deb(const std::vector<SyntheticEntry>& entries,
                                DebCompression compression = DebCompression::kXz);

// Begins as a bzImage does, as far as the kernel store looks.
std::string synthetic_bzimage();

}  // namespace panicroom::kernels
