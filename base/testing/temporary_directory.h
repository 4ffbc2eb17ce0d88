// A directory of a test's own, below the host's folder for temporary files ($TMPDIR).
#pragma once

#include <filesystem>

namespace panicroom {

// Makes the directory, empty and accessible to this user alone; removes it with all that is in it when destroyed.
// Throws std::filesystem::filesystem_error where it cannot be made, which GoogleTest reports as the test's failure. As
// a fixture's first member, it outlives the members that use it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace panicroom
