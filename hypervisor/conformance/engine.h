// An engine as the tests see it: how to make a machine, and what of it is not hypervisor/machine.h's to say.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hypervisor/machine.h"

namespace panicroom::hypervisor {

struct Engine {
  std::string name;  // The first word of Machine::engine().
  std::function<Result<std::unique_ptr<Machine>>(const MachineConfig&)> create;
  std::optional<std::string> absent = {};  // Why this host cannot have it.
  // Other processes that the machine lives in.
  std::function<std::vector<pid_t>(const Machine&)> processes = [](const Machine&) { return std::vector<pid_t>(); };
  // How often a test may restore a snapshot: some hundred times, or where it costs more, less often.
  unsigned many_restores = 1000;
  // Whether the guest's devices are this project's code, and so worth being attacked by it.
  bool has_own_devices = true;
};

}  // namespace panicroom::hypervisor
