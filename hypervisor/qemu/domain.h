// One libvirt domain: a QEMU process, its monitor, what it says when it dies, and its end. What the machine does with
// the guest is not here.
//
// Threading: one thread, but for the listener, which libvirt's event thread calls.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/file.h"
#include "base/result.h"
#include "hypervisor/qemu/domain_xml.h"
#include "hypervisor/qemu/libvirt_connection.h"

namespace panicroom::qemu {

class Domain {
 public:
  using EventListener = std::function<void(std::string_view qmp_event)>;

  // Starts QEMU, paused before its first instruction. `timeout` bounds the start and, later, each monitor command that
  // has no limit of its own. `listener` gets the names of QMP events (QEMU QMP reference: "RESET", "SHUTDOWN", ...).
  static Result<std::unique_ptr<Domain>> create(std::shared_ptr<LibvirtConnection> connection, const DomainSpec& spec,
                                                std::chrono::milliseconds timeout, EventListener listener);

  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;
  // destroy(), if that was not called.
  ~Domain();

  // A human monitor command's output, run for one vCPU. Every failure is kHost
  // and says what was asked; not answering in time is one.
  Result<std::string> hmp(const std::string& command, std::uint32_t vcpu, std::chrono::milliseconds timeout);
  Result<std::string> hmp(const std::string& command, std::uint32_t vcpu = 0) { return hmp(command, vcpu, timeout_); }

  // Writes guest-physical memory to a file, as fast as memory is copied. What lies outside the guest's memory reads as
  // what an empty bus gives.
  Result<> save_memory(Gpa at, std::uint64_t length, const std::filesystem::path& file);

  // QEMU's process; readable (poll(2)) once it is dead.
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  [[nodiscard]] pid_t pid() const { return pid_; }
  // The threads of the vCPUs, in their order.
  Result<std::vector<pid_t>> vcpu_threads();
  // QEMU's last words: the end of its standard error, without what libvirt wrote there. May be empty.
  [[nodiscard]] std::string last_words() const;

  // Kills QEMU and waits until it is dead; libvirt's memory of it goes later. kHost if it does not die in time.
  Result<> destroy();

 private:
  Domain(std::shared_ptr<LibvirtConnection> connection, std::string name, std::chrono::milliseconds timeout)
      : connection_(std::move(connection)), name_(std::move(name)), timeout_(timeout) {}

  Result<> find_process();
  // A QMP command, and its reply.
  Result<std::string> qmp(const std::string& request, std::chrono::milliseconds timeout);

  std::shared_ptr<LibvirtConnection> connection_;
  std::string name_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<virDomain> domain_;  // Shared with calls that have not returned.
  std::shared_ptr<EventListener> listener_;
  int callback_ = -1;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
  bool destroyed_ = false;
};

}  // namespace panicroom::qemu
