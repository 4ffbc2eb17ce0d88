#include "kernels/packages/cache_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace panicroom::kernels {

namespace fs = std::filesystem;

Result<CacheLock> CacheLock::take(const fs::path& cache_dir, const ProgressSink& progress) {
  TRY(make_directories(cache_dir));
  const auto file = cache_dir / "lock";
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, fmt::format("opening {}", file.native()));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return CacheLock(std::move(fd));
  if (errno == EWOULDBLOCK) tell(progress, "waiting for another panicroom to finish with the kernel cache");
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return errno_error(errno, fmt::format("locking {}", file.native()));
  }
  return CacheLock(std::move(fd));
}

Result<ScratchFolder> ScratchFolder::make(const fs::path& parent) {
  std::error_code error;
  fs::remove_all(parent, error);
  if (error) return errno_error(error.value(), fmt::format("clearing {}", parent.native()));
  TRY(make_directories(parent));
  auto path = (parent / "XXXXXX").native();
  if (::mkdtemp(path.data()) == nullptr)
    return errno_error(errno, fmt::format("making a folder in {}", parent.native()));
  return ScratchFolder(path);
}

ScratchFolder::~ScratchFolder() {
  std::error_code error;
  if (!path_.empty()) fs::remove_all(path_, error);
}

}  // namespace panicroom::kernels
