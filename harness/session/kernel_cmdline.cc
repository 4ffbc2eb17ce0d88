#include "harness/session/kernel_cmdline.h"

#include <fmt/format.h>

#include "agent/protocol/config.h"

namespace panicroom::harness {
namespace {

// What both kernels get. Each word either lets panicroom see what happens or takes away what only costs time:
//   console=ttyS0        the console that is recorded
//   panic=1              a kernel that panics without a dump resets the machine, which is an outcome and ends the run
//   cryptomgr.notests    no self-tests of ciphers, a quarter of a second of every boot
//   random.trust_cpu=on  nobody waits for entropy in a machine that has no devices to gather it from
//   no_timer_check       a host that is out of CPUs for a moment does not fail the check whether timer interrupts
//   arrive
constexpr std::string_view kCommon = "console=ttyS0 panic=1 cryptomgr.notests random.trust_cpu=on no_timer_check";

}  // namespace

std::string first_cmdline(const MachineSpec& machine, const std::string& extra, From from) {
  return fmt::format("{} crashkernel={}K{}{}{}", kCommon, machine.crashkernel_bytes >> 10,
                     from == From::kBoot ? " nokaslr" : "", extra.empty() ? "" : " ", extra);
}

// As distributions start a capture kernel: one CPU, devices to be reset first. And
//   noreplace-smp        for its one CPU it would rewrite every LOCK prefix in its code, a tenth of a second under
//                        emulation
// The agent adds tsc_early_khz=, the frequency that the kernel under test has measured.
std::string capture_cmdline(bool lend, const std::optional<SaveDump>& save) {
  std::string line = fmt::format("{} nr_cpus=1 reset_devices noreplace-smp", kCommon);
  if (lend) line += fmt::format(" {}", agent::kLendParameter);
  if (save) line += fmt::format(" {}{}", agent::kSaveParameter, save->level);
  return line;
}

}  // namespace panicroom::harness
