#include "harness/service/artifact_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "harness/service/run_name.h"

namespace panicroom::service {

namespace fs = std::filesystem;

std::vector<ArtifactFile> list_artifacts(const fs::path& folder) {
  std::vector<ArtifactFile> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_symlink(ignored) || !it->is_regular_file(ignored)) continue;
    auto path = it->path().lexically_relative(folder).generic_string();
    const auto bytes = it->file_size(ignored);
    // One that is being replaced is listed with what it will be called.
    if (ignored || !is_plain_path(path)) continue;
    files.push_back({.path = std::move(path), .bytes = bytes});
  }
  std::ranges::sort(files, {}, &ArtifactFile::path);
  return files;
}

Result<std::unique_ptr<ArtifactReader>> ArtifactReader::open(const fs::path& folder, const fs::path& path) {
  const auto missing = [&] { return invalid_input("there is no file {}", path.native()); };
  if (!is_plain_path(path.native())) return missing();
  UniqueFd at(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto left = std::distance(path.begin(), path.end());
  for (const auto& part : path) {
    if (!at) return missing();
    const bool last = --left == 0;
    at = UniqueFd(::openat(at.get(), part.c_str(),
                           O_NOFOLLOW | O_CLOEXEC | (last ? O_RDONLY | O_NONBLOCK : O_PATH | O_DIRECTORY)));
  }
  struct stat status {};
  if (!at || ::fstat(at.get(), &status) != 0 || !S_ISREG(status.st_mode)) return missing();
  return std::unique_ptr<ArtifactReader>(new ArtifactReader(std::move(at), static_cast<std::uint64_t>(status.st_size)));
}

Result<std::string> ArtifactReader::read(std::size_t most) {
  std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(most, size_ - offset_)), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(fd_.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "reading a run's file");
    if (got == 0) return host_error("a run's file has become shorter");
    done += static_cast<std::size_t>(got);
  }
  offset_ += bytes.size();
  hash_.add(bytes);
  return bytes;
}

}  // namespace panicroom::service
