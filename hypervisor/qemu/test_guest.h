// For the tests of QemuMachine: the guest in testdata/guest.S, started, commanded and looked at.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hypervisor/qemu/qemu_machine.h"

namespace panicroom::qemu {

// The order of `handlers` in guest.S.
enum class Command : std::uint32_t {
  kNone,
  kNmiToOthers,
  kFixedTo1,
  kFixedTo1And2Logical,
  kReset,
  kPowerOff,
  kTripleFault,
  kHalt,
  kWrite,
  kWriteForever,
  kPageFault,
  kUndefined,
  kRepeat,
  kInterruptsOn,
  kMachineChecksOn,
};

class TestGuest {
 public:
  // A machine that stands before its first instruction. Fails the test and gives nullptr if it cannot be made.
  static std::unique_ptr<TestGuest> create(std::uint32_t vcpus, QemuOptions options = {});
  // The same, run until all vCPUs are in their loop; no breakpoint is left.
  static std::unique_ptr<TestGuest> at_work(std::uint32_t vcpus, const QemuOptions& options = {});
  ~TestGuest();

  QemuMachine& machine() { return *machine_; }
  [[nodiscard]] Gva at(std::string_view symbol) const;
  // One of the guest's tables of 64-bit numbers.
  std::uint64_t number(std::string_view table, VcpuId vcpu);
  void command(VcpuId vcpu, Command command);

  // The next event that is not output, which is collected; DeadlinePassed fails the test.
  hypervisor::Event next();
  // Resumes, and the next() event.
  hypervisor::Event run();
  // Runs until the breakpoint is hit there, which is set and removed for that. False, and a failed test, if something
  // else happens first.
  bool run_to(std::string_view symbol, VcpuId vcpu);
  // pause() until it has taken effect.
  void pause();
  // Resumes and pauses until `done`.
  void run_until(const std::function<bool()>& done);

  std::string console, agent;

 private:
  // True, and collected, if it is output.
  bool keep(const hypervisor::Event& event);

  std::filesystem::path directory_;
  std::map<std::string, std::uint64_t, std::less<>> symbols_;
  std::unique_ptr<QemuMachine> machine_;
};

// Where the machines of this test program keep their state; removed at its end.
const std::filesystem::path& test_state_directory();

// "hit 1 at 0x...", for messages.
std::string describe(const hypervisor::Event& event);

}  // namespace panicroom::qemu
