// Has the machine report IPIs and apply a scenario's policy to them, each rule from its moment on.
#pragma once

#include <vector>

#include "base/result.h"
#include "harness/director/driver.h"
#include "harness/observer/running_kernel.h"
#include "harness/scenario/scenario.h"
#include "hypervisor/machine.h"
#include "kernels/points/resolver.h"

namespace panicroom::harness {

// Refers to what it is given; all must outlive it. Every call needs a stopped machine.
class StopIpiWatch {
 public:
  StopIpiWatch(hypervisor::Machine& machine, const std::vector<StopIpiRule>& rules)
      : machine_(machine), rules_(rules) {}

  [[nodiscard]] bool begun() const { return begun_; }
  // From here on, at the kernel's stores to the ICR.
  Result<> begin(const std::vector<kernels::IcrStoreSite>& sites, const RunningKernel& kernel);
  // Lets those rules decide whose step has happened. To be called before the machine goes on; nothing if not begun.
  Result<> follow(const Driver& driver);
  Result<> end();

 private:
  hypervisor::Machine& machine_;
  const std::vector<StopIpiRule>& rules_;
  bool begun_ = false;
  std::vector<bool> active_;  // As rules_.
};

}  // namespace panicroom::harness
