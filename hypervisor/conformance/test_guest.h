// For the tests of the engines: the guest in guest.S, started, commanded and looked at.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/testing/temporary_directory.h"
#include "hypervisor/conformance/engine.h"
#include "hypervisor/machine.h"

namespace panicroom::hypervisor {

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
  kSendIpi,    // See send_ipi().
  kWriteApic,  // See write_apic().
  kReadApic,
  kRow,  // The instructions from `row` to `row_end`.
  kInterruptsOff,
  kFlags,  // Its RFLAGS into R9.
};

class TestGuest {
 public:
  // A machine that stands before its first instruction. Fails the test and gives nullptr if it cannot be made. `image`:
  // another guest, of which only what speaks of symbols and events below works.
  static std::unique_ptr<TestGuest> create(const Engine& engine, std::uint32_t vcpus,
                                           const std::filesystem::path& image = PANICROOM_TEST_GUEST);
  // The same, run until all vCPUs are in their loop; no breakpoint is left. The last one stands at `work_middle`.
  static std::unique_ptr<TestGuest> at_work(const Engine& engine, std::uint32_t vcpus);
  // Destroys the machine, and fails the test if it cannot, or leaves files.
  ~TestGuest();

  Machine& machine() { return *machine_; }
  [[nodiscard]] Gva at(std::string_view symbol) const;
  // One of the guest's tables of 64-bit numbers; of those of 32 bits.
  std::uint64_t number(std::string_view table, VcpuId vcpu);
  std::uint32_t word(std::string_view table, VcpuId vcpu);
  void set_word(std::string_view table, VcpuId vcpu, std::uint32_t value);

  void command(VcpuId vcpu, Command command);
  // Has the vCPU store these to its ICR, the low half last.
  void send_ipi(VcpuId vcpu, std::uint32_t icr_high, std::uint32_t icr_low);
  // Has the vCPU store to one of its local APIC's registers, by its offset.
  void write_apic(VcpuId vcpu, std::uint32_t offset, std::uint32_t value);

  // The next event that is not output, which is collected; DeadlinePassed fails the test.
  Event next();
  // Resumes, and the next() event.
  Event run();
  // Runs until the breakpoint is hit there, which is set and removed for that. False, and a failed test, if something
  // else happens first.
  bool run_to(std::string_view symbol, VcpuId vcpu);
  // pause() until it has taken effect.
  void pause();
  // Resumes and pauses until `done`.
  void run_until(const std::function<bool()>& done);
  // The same until each of these vCPUs has done so many more passes of its loop.
  void work(const std::vector<VcpuId>& vcpus, std::uint64_t passes = 1000);
  // Commands, and runs until the vCPU has taken the command up and is back at work.
  void obey(VcpuId vcpu, Command command);

  std::string console, agent;

 private:
  // True, and collected, if it is output.
  bool keep(const Event& event);
  // For messages.
  std::string places();

  TemporaryDirectory directory_;
  std::map<std::string, std::uint64_t, std::less<>> symbols_;
  std::unique_ptr<Machine> machine_;
};

// "hit 1 at 0x...", for messages.
std::string describe(const Event& event);

}  // namespace panicroom::hypervisor
