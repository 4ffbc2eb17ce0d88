// Chooses the engine that runs the guests, and makes its machines.
#pragma once

#include <string>

#include "base/result.h"
#include "harness/session/armed_machine.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

struct Engine {
  std::string name;  // For the report: "qemu (tcg)".
  MachineFactory factory;
};

// `wanted` is the command line's word: "auto" measures the host and takes the best. Fills what was measured into `host`,
// and ends what a killed process has left behind. kUnsupported for an engine that this build or host does not have.
Result<Engine> choose_engine(const std::string& wanted, v1::Host& host);

}  // namespace panicroom::harness
