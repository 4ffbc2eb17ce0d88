// The files of a run, as far as clients may see them: those below its out/ folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "harness/service/sha256.h"

namespace panicroom::service {

struct ArtifactFile {
  std::string path;  // Below the folder; is_plain_path().
  std::uint64_t bytes = 0;
};

// The regular files below the folder, in the order of their paths. Links are not followed, and what is no plain path is
// left out. A folder that is not there has none.
std::vector<ArtifactFile> list_artifacts(const std::filesystem::path& folder);

// A file from its beginning to where it ended when it was opened. One thread at a time.
class ArtifactReader {
 public:
  // `path`: is_plain_path(). No part of it may be a link. kInvalidInput if there is no such regular file.
  static Result<std::unique_ptr<ArtifactReader>> open(const std::filesystem::path& folder,
                                                      const std::filesystem::path& path);
  [[nodiscard]] std::uint64_t size() const { return size_; }
  // The next bytes, at most `most`; none at the end.
  Result<std::string> read(std::size_t most);
  // SHA-256 of what has been read, 32 bytes. To be called once, as the last.
  Result<std::string> digest() { return hash_.finish(); }

 private:
  ArtifactReader(UniqueFd fd, std::uint64_t size) : fd_(std::move(fd)), size_(size) {}

  UniqueFd fd_;
  std::uint64_t size_;
  std::uint64_t offset_ = 0;
  Sha256 hash_;
};

}  // namespace panicroom::service
