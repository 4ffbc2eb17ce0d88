// Where one process's machines keep their files (initramfs, snapshot disk): big, and of no use afterwards.
#pragma once

#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/result.h"

namespace panicroom::harness {

// A folder of this process's own, removed with its content at the end. Movable.
class MachineFolder {
 public:
  // Makes it below `shared`, and removes the folders there whose process is dead: kill -9 leaves them behind.
  static Result<MachineFolder> make(const std::filesystem::path& shared);

  MachineFolder(MachineFolder&& other) noexcept
      : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  MachineFolder& operator=(MachineFolder&&) = delete;
  MachineFolder(const MachineFolder&) = delete;
  MachineFolder& operator=(const MachineFolder&) = delete;
  ~MachineFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  MachineFolder(std::filesystem::path path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  UniqueFd lock_;  // Held (flock(2)) for as long as the process lives.
};

}  // namespace panicroom::harness
