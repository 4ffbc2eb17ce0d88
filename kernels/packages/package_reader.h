// Packages of files, Debian's and RPM's, read and unpacked in-process by libarchive. A Debian package (deb(5)) is an ar
// archive of debian-binary, control.tar.* and data.tar.*; an RPM (V3 and V4, "RPM Package Format" in rpm's manual) is
// headers and a compressed cpio archive. Only the files in them are of interest here: dependencies, signatures and
// scripts are never looked at. A package is treated as hostile: paths are checked, sizes bounded, links and devices
// never created.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kernels {

struct PackageLimits {
  std::uint64_t max_bytes = std::uint64_t{4} << 30;  // Sum of all the files' sizes, also of those not wanted.
  std::uint64_t max_entries = 200'000;
};

struct PackageEntry {
  enum class Type { kFile, kDirectory, kOther };  // kOther: symbolic and hard links, devices, pipes, sockets.
  std::string path;                               // Relative, without "./" and "..", not empty.
  Type type = Type::kFile;
  std::uint64_t size = 0;  // Of the content in bytes.
};

// Receives what is in a package, in the archive's order. An error returned ends the reading and is read_package's
// result.
class PackageVisitor {
 public:
  virtual ~PackageVisitor() = default;
  // True if the content is wanted: then content() follows, in chunks that together are entry.size bytes long.
  virtual Result<bool> entry(const PackageEntry& entry) = 0;
  virtual Result<> content(Bytes chunk) = 0;
};

// True for what begins as a package does, whether or not the rest of it is sound.
bool is_package(Bytes begin);

// kInvalidInput for a package that is broken, truncated, hostile or over a limit, kUnsupported for an RPM of another
// architecture or without files; the error names the package. When it returns no error, no file of the package was cut
// short: a Debian package has been read to its last byte, and an RPM is as long as its signature header says.
Result<> read_package(const std::filesystem::path& package, PackageVisitor& visitor, const PackageLimits& limits = {});
Result<> read_package(Bytes package, PackageVisitor& visitor, const PackageLimits& limits = {});

// Writes the regular files whose path begins with one of `prefixes` under `folder`, which must exist and belong to the
// caller alone. After an error the folder is in an undefined state: remove it. kHost if writing fails.
Result<> unpack_package(const std::filesystem::path& package, const std::filesystem::path& folder,
                        const std::vector<std::string>& prefixes, const PackageLimits& limits = {});

}  // namespace panicroom::kernels
