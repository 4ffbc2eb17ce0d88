// Files and file descriptors with errors as values.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom {

// Owns a file descriptor and closes it. Movable, not copyable.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

// The whole file. kInvalidInput if it cannot be opened, kHost if reading fails.
Result<std::vector<std::byte>> read_file(const std::filesystem::path& path);
Result<std::string> read_text_file(const std::filesystem::path& path);

// Writes a temporary file beside `path` and renames it over, so that a reader sees the old or the new content, never a
// part. A full disk is an error, and leaves nothing behind. A device or pipe that is there is
// written to, not replaced.
Result<> write_file(const std::filesystem::path& path, Bytes content);
inline Result<> write_file(const std::filesystem::path& path, std::string_view text) {
  return write_file(path, as_bytes(text));
}

Result<> make_directories(const std::filesystem::path& path);

}  // namespace panicroom
