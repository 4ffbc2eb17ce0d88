// For tests: Debian packages and RPMs made by libarchive, also such as nobody should ever have made.
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

enum class PackageCompression { kNone, kGzip, kXz, kZstd };

// data.tar.* as it is in a package.
std::vector<std::byte> make_data_tar(const std::vector<SyntheticEntry>& entries, PackageCompression compression);
// An ar archive of the given members.
std::vector<std::byte> make_ar(const std::vector<std::pair<std::string, std::vector<std::byte>>>& members);
// A whole package: debian-binary, control.tar.xz, data.tar.*.
std::vector<std::byte> make_deb(const std::vector<SyntheticEntry>& entries,
                                PackageCompression compression = PackageCompression::kXz);

// An RPM's payload.
std::vector<std::byte> make_cpio(const std::vector<SyntheticEntry>& entries, PackageCompression compression);
// Lead, signature header, header; `sized`: the signature header tells how long the file is.
std::vector<std::byte> make_rpm_around(const std::vector<std::byte>& payload, const std::string& arch = "x86_64",
                                       bool sized = true);
// A whole RPM.
std::vector<std::byte> make_rpm(const std::vector<SyntheticEntry>& entries,
                                PackageCompression compression = PackageCompression::kZstd);

// Begins as a bzImage does, as far as the kernel store looks.
std::string synthetic_bzimage();

}  // namespace panicroom::kernels
