// This process's connection to libvirt's embedded QEMU driver (qemu:///embed?root=...): no daemon, no system state, all
// files below one directory. libvirt allows one such root per process, so all machines of a process share it.
//
// Threading: every function may be called from any thread. libvirt's event loop runs in a thread of its own.
#pragma once

#include <libvirt/libvirt.h>

#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "hypervisor/qemu/state_directory.h"

namespace panicroom::qemu {

class LibvirtConnection {
 public:
  // The process's connection; opened, with leftovers of dead processes reaped first, if this is the first call. It
  // lives, and its directory with it, until the process ends. kHost, with the packages to install, if libvirt or its
  // QEMU driver does not work; kInvalidInput if it is open already below another state directory.
  static Result<std::shared_ptr<LibvirtConnection>> open(const std::filesystem::path& state_directory);

  LibvirtConnection(const LibvirtConnection&) = delete;
  LibvirtConnection& operator=(const LibvirtConnection&) = delete;
  ~LibvirtConnection();

  // Makes libvirt forget a domain whose QEMU is dead, in the background: it takes its time. The connection's end waits
  // for it.
  void forget(std::shared_ptr<virDomain> domain);

  [[nodiscard]] virConnectPtr get() const { return connection_; }
  // The root of libvirt's files, private to this process.
  [[nodiscard]] const std::filesystem::path& root() const { return directory_.path(); }

 private:
  LibvirtConnection(std::filesystem::path state_directory, StateDirectory directory)
      : state_directory_(std::move(state_directory)), directory_(std::move(directory)) {}

  static Result<std::shared_ptr<LibvirtConnection>> make(const std::filesystem::path& state_directory);

  std::filesystem::path state_directory_;
  StateDirectory directory_;
  virConnectPtr connection_ = nullptr;

  struct Pending {
    std::mutex mutex;
    std::condition_variable changed;
    unsigned count = 0;
  };
  std::shared_ptr<Pending> pending_ = std::make_shared<Pending>();
};

// libvirt's last error in this thread, as ours.
Error libvirt_error(std::string_view what);

}  // namespace panicroom::qemu
