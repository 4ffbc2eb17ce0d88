// Whatever the text: mistakes with a place in the file and printable messages, or scenarios that the director can rely
// on.
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/testing/require.h"
#include "harness/scenario/parser.h"

namespace {

using namespace panicroom;           // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::harness;  // NOLINT(google-build-using-namespace)

void check(const Diagnostic& diagnostic, int lines) {
  require(diagnostic.line >= 0 && diagnostic.line <= lines + 1);
  require((diagnostic.line == 0) == (diagnostic.column == 0));
  require(!diagnostic.message.empty() && diagnostic.message.size() < 2000);
  for (const char c : diagnostic.message) require(c >= 0x20 && c < 0x7f);
}

void check_order_of(const Scenario& scenario) {
  std::vector<bool> held(scenario.machine.vcpus);
  for (std::size_t i = 0; i < scenario.timeline.size(); ++i) {
    const Step& step = scenario.timeline[i];
    require(step.number == i + 1);
    require(index(step.cpu) < scenario.machine.vcpus);
    require(step.hit >= 1 && !step.text.empty());
    const bool here = std::holds_alternative<Here>(step.at);
    require(!step.alone || !here);
    require(!step.after || (here && step.after->least.count() > 0 && step.after->least <= step.after->most));
    auto is_held = held[index(step.cpu)];
    require(here || !is_held);
    if (std::holds_alternative<DoHold>(step.action)) {
      require(!is_held);
      is_held = true;
    } else if (std::holds_alternative<DoRelease>(step.action)) {
      require(is_held && here);
      is_held = false;
    }
  }
}

void check(const DumpExpectation& dump, std::uint32_t vcpus) {
  require(!dump.panic_cpu || (*dump.panic_cpu >= 0 && static_cast<std::uint32_t>(*dump.panic_cpu) < vcpus));
  require(!dump.cpus_with_registers || *dump.cpus_with_registers <= vcpus);
  if (!dump.missing_cpus) return;
  require(dump.missing_cpus->size() <= vcpus);
  for (const std::uint32_t cpu : *dump.missing_cpus) require(cpu < vcpus);
}

void check(const Scenario& scenario) {
  const std::uint32_t vcpus = scenario.machine.vcpus;
  require(!scenario.name.empty() && scenario.name.find('/') == std::string::npos);
  require(vcpus >= 1 && vcpus <= 64);
  require(scenario.machine.crashkernel_bytes < scenario.machine.memory_bytes);
  require(scenario.machine.pin.empty() || scenario.machine.pin.size() == vcpus);
  require(scenario.workload.size() == vcpus);
  require(scenario.timeout.count() > 0 && !scenario.timeline.empty());
  for (const auto& [rule, after_step] : scenario.stop_ipi) {
    require(after_step <= scenario.timeline.size());
    require(!rule.count || *rule.count > 0);
    require(!rule.source || index(*rule.source) < vcpus);
    require(!rule.target || index(*rule.target) < vcpus);
    require(rule.mode || rule.vector);
  }
  require(!scenario.expect.empty());
  for (const KernelExpectation& row : scenario.expect) check(row.expectation.dump, vcpus);
  check_order_of(scenario);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  int lines = 1;
  for (const char c : text) lines += c == '\n' ? 1 : 0;
  const ParseResult result = parse(text, "fuzz.yaml");
  require(!result.scenarios.empty() || !result.diagnostics.empty());
  for (const Diagnostic& diagnostic : result.diagnostics) check(diagnostic, lines);
  for (const Scenario& scenario : result.scenarios) check(scenario);
  return 0;
}
