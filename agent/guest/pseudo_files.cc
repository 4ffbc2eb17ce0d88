#include "agent/guest/pseudo_files.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/file.h"

namespace panicroom::agent {

Outcome<> mount_pseudo_file_systems() {
  struct FileSystem {
    const char* type;
    const char* where;
  };
  for (const auto& [type, where] : {FileSystem{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}}) {
    mkdir(where, 0755);
    // EBUSY: mounted already, as CONFIG_DEVTMPFS_MOUNT would.
    if (mount(type, where, type, 0, nullptr) != 0 && errno != EBUSY) {
      const int error = errno;
      return failure(
          v1::Failed::STAGE_MOUNT, error,
          fmt::format("mounting {} on {}: {} (is it built into this kernel?)", type, where, std::strerror(error)));
    }
  }
  return {};
}

std::optional<std::string> read_small_file(const char* path) {
  const UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::array<char, 8192> buffer;
  std::size_t have = 0;
  while (have < buffer.size()) {
    const ssize_t got = read(fd.get(), buffer.data() + have, buffer.size() - have);
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  std::string text(buffer.data(), have);
  const std::size_t last = text.find_last_not_of(" \t\n");
  text.resize(last == std::string::npos ? 0 : last + 1);
  return text;
}

std::optional<std::uint64_t> read_number(const char* path) {
  const auto text = read_small_file(path);
  if (!text) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size()) return std::nullopt;
  return value;
}

bool write_small_file(const char* path, const char* text) {
  const UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  const std::size_t length = std::strlen(text);
  return fd && write(fd.get(), text, length) == static_cast<ssize_t>(length);
}

std::uint32_t count_cpu_list(const std::string& list) {
  std::uint32_t count = 0;
  const char* at = list.data();
  const char* const end = at + list.size();
  while (at != end) {
    std::uint32_t first = 0;
    auto parsed = std::from_chars(at, end, first);
    if (parsed.ec != std::errc{}) return 0;
    std::uint32_t last = first;
    if (parsed.ptr != end && *parsed.ptr == '-') {
      parsed = std::from_chars(parsed.ptr + 1, end, last);
      if (parsed.ec != std::errc{} || last < first) return 0;
    }
    count += last - first + 1;
    if (parsed.ptr == end) break;
    if (*parsed.ptr != ',') return 0;
    at = parsed.ptr + 1;
  }
  return count;
}

}  // namespace panicroom::agent
