#include <fmt/core.h>

#include "harness/cli/commands.h"
#include "harness/doctor/findings.h"

namespace panicroom::cli {

int doctor() {
  const auto findings = harness::measure_host();
  fmt::print("{}", harness::render(findings));
  return harness::choose_engine(findings) ? kSuccess : kHarnessError;
}

}  // namespace panicroom::cli
