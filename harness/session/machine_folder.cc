#include "harness/session/machine_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace panicroom::harness {
namespace {

namespace fs = std::filesystem;

constexpr auto kLockName = "lock";

// The lock file, locked; no descriptor if somebody else holds it and `wait` is false.
Result<UniqueFd> lock(const fs::path& file, bool wait) {
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno_error(errno, fmt::format("opening {}", file.native()));
  while (::flock(fd.get(), wait ? LOCK_EX : LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return UniqueFd();
    if (errno != EINTR) return errno_error(errno, fmt::format("locking {}", file.native()));
  }
  return fd;
}

void remove_abandoned(const fs::path& shared) {
  std::error_code ignored;  // What cannot be removed now is tried again at the next start.
  for (const auto& entry : fs::directory_iterator(shared, ignored)) {
    if (!entry.is_directory(ignored)) continue;
    const auto held = lock(entry.path() / kLockName, false);
    if (held && *held) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

Result<MachineFolder> MachineFolder::make(const fs::path& shared) {
  TRY(make_directories(shared));
  // Between a folder's making and its locking nobody may take it for abandoned.
  const UniqueFd making = TRY(lock(shared / kLockName, true));
  remove_abandoned(shared);
  auto path = shared / fmt::format("{}", ::getpid());
  TRY(make_directories(path));
  auto own = TRY(lock(path / kLockName, false));
  if (!own) return host_error("{} is in use by another process", path.native());
  return MachineFolder(std::move(path), std::move(own));
}

MachineFolder::~MachineFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

}  // namespace panicroom::harness
