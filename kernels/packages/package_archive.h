// An archive of Debian packages as the kernel store needs it: which versions of a package a suite has, and the package
// itself, verified. apt_archive.h is the real one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace panicroom::kernels {

// Told what is going on, one line without a line's end at a time, in the caller's thread: "fetching ... (30.1 MB)". May
// be empty.
using ProgressSink = std::function<void(std::string_view line)>;

inline void tell(const ProgressSink& progress, std::string_view line) {
  if (progress) progress(line);
}

struct PackageRecord {
  std::string name;
  std::string version;
  std::vector<std::string> depends;  // The names alone; of alternatives the first.
  std::uint64_t bytes = 0;           // Of the .deb.
  std::string pocket;                // The part of a suite that has it: "bookworm-security".
};

// How new an archive's lists must be.
enum class Lists {
  kCached,  // Whatever is there already; never touches the network.
  kFresh,   // Not older than a day, else updated; where that fails, what is there already, and a notice of it.
  kUpdated  // Updated now.
};

class PackageArchive {
 public:
  virtual ~PackageArchive() = default;

  // Every version of the package in the suite (with its -updates and -security), in no order; none if the suite lacks
  // it. kInvalidInput if there is no such suite, kHost if the archive cannot be reached and nothing is cached.
  virtual Result<std::vector<PackageRecord>> find(const std::string& suite, const std::string& package, Lists lists,
                                                  const ProgressSink& progress) = 0;

  // Fetches the package into an empty folder and verifies it against the archive's signature. kHost if that fails.
  virtual Result<std::filesystem::path> download(const PackageRecord& package, const std::filesystem::path& folder,
                                                 const ProgressSink& progress) = 0;
};

}  // namespace panicroom::kernels
