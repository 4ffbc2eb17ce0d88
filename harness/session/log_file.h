// A log that is written while a run goes on, and whose failure (a full disk) is kept until somebody asks. What a guest
// writes has no end, a log has: at kMaxBytes it is cut, and says so.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace panicroom::harness {

class LogFile {
 public:
  static constexpr std::size_t kMaxBytes = 64u << 20;

  // Creates the folder and the file, empty.
  static Result<LogFile> create(const std::filesystem::path& path);

  void write(std::string_view text);
  // The first error of any write().
  [[nodiscard]] Result<> status() const { return status_; }

 private:
  LogFile(std::filesystem::path path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  void put(std::string_view text);

  std::filesystem::path path_;
  UniqueFd fd_;
  std::size_t left_ = kMaxBytes;
  Result<> status_;
};

}  // namespace panicroom::harness
