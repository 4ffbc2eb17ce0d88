#include "harness/session/log_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace panicroom::harness {

Result<LogFile> LogFile::create(const std::filesystem::path& path) {
  TRY(make_directories(path.parent_path()));
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd) return errno_error(errno, fmt::format("creating {}", path.native()));
  return LogFile(path, std::move(fd));
}

void LogFile::write(std::string_view text) {
  if (left_ == 0 || text.empty()) return;
  const auto part = text.substr(0, left_);
  left_ -= part.size();
  put(part);
  if (left_ == 0) put("\n[panicroom: the log is cut here]\n");
}

void LogFile::put(std::string_view text) {
  while (status_ && !text.empty()) {
    const ssize_t put = ::write(fd_.get(), text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      status_ = errno_error(errno, fmt::format("writing {}", path_.native()));
      return;
    }
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

}  // namespace panicroom::harness
