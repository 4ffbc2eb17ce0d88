// Where one panicroom process keeps what libvirt and QEMU need at run time (sockets, logs, libvirt's own files), and
// how what a killed process left behind is found and ended.
//
// Each process has a directory of its own below the state directory the user's processes share, and holds a lock in it
// for as long as it lives. A directory whose lock is free has no owner: QEMU outlives the process that started it, and
// libvirt's embedded driver cannot be told to end it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>

#include "base/file.h"
#include "base/result.h"

namespace panicroom::qemu {

// One process's directory. Removed, with all that is in it, when this is destroyed (but not by a forked child's copy).
class StateDirectory {
 public:
  // Makes `shared` if it is not there, with access for its owner only, and a directory in it. kInvalidInput if the path
  // is too long for the unix sockets in it.
  static Result<StateDirectory> create(const std::filesystem::path& shared);

  StateDirectory(StateDirectory&& other) noexcept = default;
  StateDirectory& operator=(StateDirectory&&) = delete;
  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;
  ~StateDirectory();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  StateDirectory(std::filesystem::path path, UniqueFd lock);

  std::filesystem::path path_;
  UniqueFd lock_;
  pid_t owner_;
};

// Where state is kept if the user does not say: below XDG_RUNTIME_DIR, or /run for root, or else the temporary
// directory.
std::filesystem::path default_state_directory();

struct Leftovers {
  std::size_t directories = 0;
  std::size_t processes = 0;
};
// Ends the QEMU processes of owners that are dead, and removes their directories. Safe beside living processes. A state
// directory that is not there has nothing left in it.
Result<Leftovers> reap_leftovers(const std::filesystem::path& shared);

// Kills every QEMU that was started with a file in `directory`, waits until they are gone, and says how many there
// were. Only processes whose program is a qemu-system-* and one of whose arguments names a file in `directory` are
// touched.
Result<std::size_t> kill_qemu_of(const std::filesystem::path& directory);

}  // namespace panicroom::qemu
