// What makes a shared cache folder safe: one writer at a time, and scratch folders that a killed writer's successor
// clears.
#pragma once

#include <filesystem>

#include "base/file.h"
#include "base/result.h"
#include "kernels/packages/package_archive.h"

namespace panicroom::kernels {

// Holds the cache's lock (flock(2)) while it lives; the kernel lets go of it when the process dies. Movable.
class CacheLock {
 public:
  // Makes the folder if need be, and waits for as long as somebody else holds the lock, saying so once. kHost if the
  // folder cannot be written.
  static Result<CacheLock> take(const std::filesystem::path& cache_dir, const ProgressSink& progress);

 private:
  explicit CacheLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// A fresh private folder, removed with its content at the end. To be made only under the lock: it removes what earlier
// owners left behind. Movable.
class ScratchFolder {
 public:
  static Result<ScratchFolder> make(const std::filesystem::path& parent);
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace panicroom::kernels
