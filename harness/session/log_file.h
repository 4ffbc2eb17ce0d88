// A log that is written while a run goes on, and whose failure (a full disk) is kept until somebody asks.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace panicroom::harness {

class LogFile {
 public:
  // Creates the folder and the file, empty.
  static Result<LogFile> create(const std::filesystem::path& path);

  void write(std::string_view text);
  // The first error of any write().
  [[nodiscard]] Result<> status() const { return status_; }

 private:
  LogFile(std::filesystem::path path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::filesystem::path path_;
  UniqueFd fd_;
  Result<> status_;
};

}  // namespace panicroom::harness
