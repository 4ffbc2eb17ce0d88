#include "harness/service/control_open.h"

#include <fmt/format.h>

#include <utility>

#include "harness/control/words.h"
#include "harness/report/untrusted_text.h"
#include "kernels/packages/kernel_pattern.h"

namespace panicroom::service {

std::vector<Violation> check_control_open(const v1::ControlRequest& request, const RequestPolicy& policy) {
  std::vector<Violation> violations;
  const auto wrong = [&](std::string field, const std::string& description) {
    violations.push_back({.field = std::move(field), .description = harness::escape_untrusted(description)});
  };
  if (request.id() == 0) wrong("id", "is 0, which is no request's number");
  if (!request.has_open()) {
    wrong("open", "the first request opens the machine");
    return violations;
  }
  const auto& open = request.open();
  const auto check_kernel = [&](const char* field, const std::string& reference) {
    if (reference.empty()) return;
    if (const auto violation = kernel_violation(reference, policy)) {
      wrong(field, *violation);
    } else if (kernels::is_kernel_pattern(reference)) {
      wrong(field, "a pattern, where one kernel is wanted");
    }
  };
  check_kernel("open.kernel", open.kernel());
  check_kernel("open.capture_kernel", open.capture_kernel());
  if (!is_engine_word(open.engine())) wrong("open.engine", "is none of auto, kvm, qemu");
  const auto opened = control::read_open(open);
  for (const auto& mistake : opened.mistakes) wrong(mistake.field, mistake.description);
  const auto& machine = opened.scenario.machine;
  if (machine.vcpus > policy.max_vcpus) {
    wrong("open.machine", fmt::format("{} vCPUs, and the server has {}", machine.vcpus, policy.max_vcpus));
  }
  if (machine.memory_bytes > policy.max_memory_bytes) {
    wrong("open.machine",
          fmt::format("{} MiB, and the server has {}", machine.memory_bytes >> 20, policy.max_memory_bytes >> 20));
  }
  return violations;
}

}  // namespace panicroom::service
