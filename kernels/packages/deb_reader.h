// Debian binary packages (deb(5)): an ar archive of debian-binary, control.tar.* and data.tar.*, read and unpacked
// in-process by libarchive. Only the files of data.tar are of interest here; control.tar and maintainer scripts are
// never looked at. A package is treated as hostile: paths are checked, sizes bounded, links and devices never created.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kernels {

struct DebLimits {
  std::uint64_t max_bytes = std::uint64_t{4} << 30;  // Sum of all the files' sizes, also of those not wanted.
  std::uint64_t max_entries = 200'000;
};

struct DebEntry {
  enum class Type { kFile, kDirectory, kOther };  // kOther: symbolic and hard links, devices, pipes, sockets.
  std::string path;                               // Relative, without "./" and "..", not empty.
  Type type = Type::kFile;
  std::uint64_t size = 0;  // Of the content in bytes.
};

// Receives what is in a package, in the archive's order. An error returned ends the reading and is read_deb's result.
class DebVisitor {
 public:
  virtual ~DebVisitor() = default;
  // True if the content is wanted: then content() follows, in chunks that together are entry.size bytes long.
  virtual Result<bool> entry(const DebEntry& entry) = 0;
  virtual Result<> content(Bytes chunk) = 0;
};

// kInvalidInput for a package that is broken, truncated, hostile or over a limit; the error names the package. When it
// returns no error, every byte of the package has been read.
Result<> read_deb(const std::filesystem::path& deb, DebVisitor& visitor, const DebLimits& limits = {});
Result<> read_deb(Bytes deb, DebVisitor& visitor, const DebLimits& limits = {});

// Writes the regular files whose path begins with one of `prefixes` under `folder`, which must exist and belong to the
// caller alone. After an error the folder is in an undefined state: remove it. kHost if writing fails.
Result<> unpack_deb(const std::filesystem::path& deb, const std::filesystem::path& folder,
                    const std::vector<std::string>& prefixes, const DebLimits& limits = {});

}  // namespace panicroom::kernels
