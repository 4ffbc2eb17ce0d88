// Where the vCPUs are at the stops of a trial that happen anyway: one line of what each executes.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "harness/observer/journal.h"
#include "harness/observer/running_kernel.h"
#include "hypervisor/machine.h"

namespace panicroom::harness {

// Refers to everything that it is given; all must outlive it. One thread.
class PlaceSamples {
 public:
  PlaceSamples(hypervisor::Machine& machine, const RunningKernel& kernel, Journal& journal)
      : machine_(machine), kernel_(kernel), journal_(journal), last_(machine.vcpus()) {}

  // The machine must be stopped, before the jump. Writes down the vCPUs that are not where they were at the last call.
  // Does nothing while all calls together have taken more than kShare of the trial's time, but for the first kFree: a
  // trial with a thousand stops is not to become another trial. What cannot be read is left out.
  void take();

 private:
  static constexpr double kShare = 0.02;
  static constexpr auto kFree = std::chrono::milliseconds(25);

  hypervisor::Machine& machine_;
  const RunningKernel& kernel_;
  Journal& journal_;
  std::vector<std::pair<std::uint64_t, bool>> last_;  // By vCPU: RIP, and whether interrupts were on.
  hypervisor::Clock::duration spent_{};
};

}  // namespace panicroom::harness
