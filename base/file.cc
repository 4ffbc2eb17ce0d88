#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>
#include <system_error>

namespace panicroom {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void UniqueFd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

namespace {

template <typename Container>
Result<Container> read_whole(const std::filesystem::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return invalid_input("cannot open {}: {}", path.native(), std::generic_category().message(errno));
  Container content;
  std::array<char, 1 << 16> chunk;
  while (true) {
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, fmt::format("reading {}", path.native()));
    if (got == 0) return content;
    const auto part = std::span(chunk).first(static_cast<std::size_t>(got));
    const auto* data = reinterpret_cast<const typename Container::value_type*>(part.data());
    content.insert(content.end(), data, data + part.size());
  }
}

Result<> write_all(int fd, Bytes content) {
  while (!content.empty()) {
    const ssize_t put = ::write(fd, content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error(errno, "write");
    content = content.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::filesystem::path& path) {
  return read_whole<std::vector<std::byte>>(path);
}

Result<std::string> read_text_file(const std::filesystem::path& path) { return read_whole<std::string>(path); }

Result<> write_file(const std::filesystem::path& path, Bytes content) {
  const std::string context = fmt::format("writing {}", path.native());
  // A device or a pipe (/dev/stdout) is written to; renaming over it would put a file in its place.
  struct stat existing {};
  if (::stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode)) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return errno_error(errno, context);
    TRY_CONTEXT(context, write_all(fd.get(), content));
    return {};
  }
  std::string temporary = path.native() + ".XXXXXX";
  UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return errno_error(errno, context);
  auto written = write_all(fd.get(), content);
  // mkostemp makes files private; these are reports and logs, meant to be read by whoever the umask allows.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (written && ::fchmod(fd.get(), 0666 & ~mask) != 0) written = errno_error(errno, "fchmod");
  fd.reset();
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = errno_error(errno, "rename");
  if (!written) {
    ::unlink(temporary.c_str());
    return std::move(written).error().with_context(context);
  }
  return {};
}

Result<> make_directories(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return errno_error(error.value(), fmt::format("creating directory {}", path.native()));
  return {};
}

}  // namespace panicroom
