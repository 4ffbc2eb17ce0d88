// Our side of QEMU's gdbstub (qemu-system-x86_64, -gdb unix:PATH): registers, memory, breakpoints, and which vCPUs run.
// Leaves out what GDB has and a machine under test does not need: processes, files, tracepoints, the non-stop mode.
// Reference: "Debugging with GDB", appendix E "GDB Remote Serial Protocol"; QEMU's own packets (Qqemu.PhyMemMode) are
// in the QEMU documentation, "GDB usage".
//
// The target is all-stop. It either stands still, and everything but read_stop() and wait_stop() is legal; or it runs,
// after resume(), and only interrupt(), read_stop() and wait_stop() are. Anything else is then a kHost error without
// effect, because QEMU takes any byte that it gets while it runs as a request to stop.
//
// What QEMU 7.2 does, that a caller has to know:
// - A stop is reported once, for one vCPU, even if several reached a breakpoint: the others stand at theirs, before the
//   instruction, and hit it when they are resumed. QEMU's stop for a vCPU and the stop of the machine are not one
//   event, so take a stop as "look at the vCPU's RIP", not as "RIP is at a breakpoint".
// - A vCPU that is resumed at a breakpoint hits it again: remove it, step(), insert it again.
// - Breakpoints hold for every vCPU, are compared with the linear address (CS base + RIP), are reported before the
//   instruction executes and do not change guest memory. They are keyed by virtual address, whatever CR3 is.
// - After the guest has shut down or panicked into a state that only a reset leaves, resume() has no effect and no stop
//   follows: callers bound their waiting.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/result.h"
#include "hypervisor/registers.h"
#include "hypervisor/rsp/connection.h"
#include "hypervisor/rsp/register_layout.h"
#include "hypervisor/rsp/replies.h"

namespace panicroom::rsp {

struct ClientConfig {
  // How long QEMU may take to answer one request before it counts as hanging.
  std::chrono::milliseconds reply_timeout{10'000};
  // How long one instruction may take before step() gives up, as it must on a halted vCPU.
  std::chrono::milliseconds step_timeout{1'000};
};

// Why the target stands still.
struct StopReply {
  RawStopReply::Kind kind = RawStopReply::Kind::kSignal;
  unsigned code = 0;  // A signal (kSignalTrap, ...) or, for kExited, QEMU's exit status.
  // The vCPU that stopped. Means nothing unless `code` is kSignalTrap: QEMU names some vCPU in every stop.
  std::optional<VcpuId> vcpu = std::nullopt;
  RawStopReply::Watch watch = RawStopReply::Watch::kNone;
  Gva watch_address = {};

  [[nodiscard]] bool is_trap() const { return kind == RawStopReply::Kind::kSignal && code == kSignalTrap; }
  [[nodiscard]] bool is_interrupt() const { return kind == RawStopReply::Kind::kSignal && code == kSignalInterrupt; }
  // QEMU has ended; the client is of no use any more.
  [[nodiscard]] bool is_gone() const { return kind != RawStopReply::Kind::kSignal; }
};

enum class BreakpointKind {
  kSoftware,  // Under TCG exact and unlimited; under KVM an int3 in guest memory.
  kHardware,  // Under TCG the same; under KVM one of the four debug registers.
};

// One connection to one QEMU, used by one thread. Every call but read_stop() blocks, until `reply_timeout` at most for
// each packet that it needs.
//
// Errors are kHost. An error reply of the stub (a page that is not mapped, a breakpoint that is not there) leaves the
// client usable. A reply that does not come, does not parse or comes from nowhere, and a closed socket, end it: every
// later call gives the same error, because a reply that came late would be taken for the answer to another question.
//
// Destroying the client closes the socket, and QEMU leaves the target as it is: standing still, if it did. See
// detach().
class Client {
 public:
  // Connects to the socket and stops the target, if it ran. `deadline` bounds the waiting for the socket to appear and
  // all of the handshake; it is not extended by `config`.
  static Result<Client> connect(const std::filesystem::path& socket_path, Clock::time_point deadline,
                                ClientConfig config = {});
  // The same over a stream socket that is connected already.
  static Result<Client> attach(UniqueFd socket, Clock::time_point deadline, ClientConfig config = {});

  [[nodiscard]] std::size_t vcpu_count() const { return vcpu_count_; }
  [[nodiscard]] bool running() const { return running_; }

  // --- While the target stands still ---

  Result<hypervisor::Registers> read_registers(VcpuId vcpu);
  // Makes the vCPU's registers equal to `registers`, writing only those that differ, so that the FPU, SSE and
  // everything else that Registers does not have stay as they are. Read back afterwards: a value that the vCPU did not
  // take (a selector without a descriptor, the upper half of a register outside 64-bit mode) is an error that names the
  // register. A halted vCPU stays halted.
  Result<> write_registers(VcpuId vcpu, const hypervisor::Registers& registers);

  // Memory as `vcpu` would translate the address now, page protections apart. An error if any byte is not mapped; a
  // write may then have changed the bytes before it.
  Result<std::vector<std::byte>> read_memory(VcpuId vcpu, Gva address, std::size_t length);
  Result<> write_memory(VcpuId vcpu, Gva address, Bytes bytes);
  // Physical memory. QEMU reports no errors here: where there is no memory, reads give what an empty bus gives, and
  // writes to it or to ROM are lost. Device registers are really read and written.
  Result<std::vector<std::byte>> read_physical(Gpa address, std::size_t length);
  Result<> write_physical(Gpa address, Bytes bytes);

  // On every vCPU, at a linear address. Inserting one that is there already makes a second, to be removed too; removing
  // one that is not there is an error.
  Result<> insert_breakpoint(Gva address, BreakpointKind kind = BreakpointKind::kSoftware);
  Result<> remove_breakpoint(Gva address, BreakpointKind kind = BreakpointKind::kSoftware);

  // Executes one instruction on `vcpu` and nothing on the others, with interrupts and timers held off. Gives the stop:
  // a trap on `vcpu`, or, if nothing was executed within `step_timeout` (a halted vCPU), an interrupt. QEMU 7.2 now and
  // then reports a trap with nothing executed, which only the unchanged registers tell.
  Result<StopReply> step(VcpuId vcpu);

  // Lets exactly these vCPUs run, the others stay frozen, and returns at once. An error if the set is empty.
  Result<> resume(std::span<const VcpuId> vcpus);

  // Removes every breakpoint, lets *all* vCPUs run, and ends the client.
  Result<> detach();

  // --- While the target runs ---

  // Asks the target to stop; the stop comes as every other does. Without effect if the target stands still or was asked
  // already.
  //
  // The request may cross a stop that is on its way. QEMU drops it then, as it does always when it stands still, and
  // one stop is all that comes. A stub that answers it all the same would put a second stop reply before its next
  // answer: until an answer has arrived after such a crossing, stop replies found in its place are dropped, and
  // resume() makes sure of one (by a request without effect) before it sets anything running. So no stop reply outlives
  // the stop that it belongs to.
  Result<> interrupt();

  // For the caller's poll loop: readable when read_stop() has something to do.
  [[nodiscard]] int fd() const { return connection_.fd(); }
  // The stop, if it has arrived; never blocks. Call it when fd() is readable. Nothing if the target stands still
  // already.
  Result<std::optional<StopReply>> read_stop();
  // The same, but waits for the stop until `deadline`.
  Result<std::optional<StopReply>> wait_stop(Clock::time_point deadline);

 private:
  Client(Connection connection, ClientConfig config) : connection_(std::move(connection)), config_(config) {}

  Result<> shake_hands(Clock::time_point deadline);
  Result<std::string> read_annex(std::string_view annex, Clock::time_point deadline);

  [[nodiscard]] Clock::time_point reply_deadline() const { return Clock::now() + config_.reply_timeout; }
  Result<> check_stopped(std::string_view what) const;
  Result<std::string> thread_of(VcpuId vcpu) const;
  // Remembers `error` as the client's end, and gives it back.
  Error fail(Error error);

  Result<std::string> ask(std::string_view request, Clock::time_point deadline);
  Result<std::string> ask(std::string_view request) { return ask(request, reply_deadline()); }
  // For requests that are answered by "OK"; `what` is for the message.
  Result<> command(std::string_view request, std::string_view what);
  Result<> select(VcpuId vcpu);
  Result<std::vector<std::byte>> read_chunks(std::uint64_t address, std::size_t length);
  Result<> write_chunks(std::uint64_t address, Bytes bytes);
  template <typename Operation>
  auto in_physical_mode(Operation operation) -> decltype(operation());
  Result<> change_breakpoint(char action, Gva address, BreakpointKind kind);
  Result<> set_running(std::string_view request);
  Result<StopReply> take_stop(std::string_view reply);

  Connection connection_;
  ClientConfig config_;
  Features features_;
  RegisterLayout layout_;
  std::size_t vcpu_count_ = 0;
  bool running_ = false;
  bool interrupt_sent_ = false;      // During this run.
  bool late_stop_possible_ = false;  // An interrupt may have crossed a stop, and no answer has come since.
  std::optional<VcpuId> selected_;   // What `Hg` chose last, if nothing has changed it since.
  std::optional<Error> broken_;
};

}  // namespace panicroom::rsp
