#include "harness/control/words.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/machine_reader.h"
#include "harness/scenario/timeline_reader.h"
#include "harness/scenario/values.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::control {
namespace {

using harness::Diagnostics;
using harness::YamlNode;

constexpr int kMaxEntries = 256;  // Of a list or a map in a request.

YamlNode scalar(std::string text) {
  YamlNode node;
  node.kind = YamlNode::Kind::kScalar;
  node.text = std::move(text);
  return node;
}

// A map whose values may be left out.
class Map {
 public:
  Map() { node_.kind = YamlNode::Kind::kMap; }
  void add(std::string key, YamlNode value) {
    node_.keys.push_back(scalar(std::move(key)));
    node_.items.push_back(std::move(value));
  }
  void add(std::string key, std::string value) { add(std::move(key), scalar(std::move(value))); }
  void add(std::string key, std::uint64_t value) { add(std::move(key), scalar(fmt::format("{}", value))); }
  void add_text(std::string key, const std::string& value) {
    if (!value.empty()) add(std::move(key), value);
  }
  YamlNode take() { return std::move(node_); }

 private:
  YamlNode node_;
};

YamlNode list() {
  YamlNode node;
  node.kind = YamlNode::Kind::kSequence;
  return node;
}

std::string joined(Diagnostics diagnostics) {
  std::string text;
  for (const auto& found : std::move(diagnostics).take()) text += (text.empty() ? "" : "; ") + found.message;
  return text;
}

YamlNode machine_node(const v1::ControlMachine& machine) {
  Map map;
  if (machine.vcpus() != 0) map.add("vcpus", std::uint64_t{machine.vcpus()});
  map.add_text("memory", machine.memory());
  map.add_text("crashkernel", machine.crashkernel());
  if (!machine.pin().empty()) {
    auto pin = list();
    for (const auto cpu : machine.pin()) pin.items.push_back(scalar(fmt::format("{}", cpu)));
    map.add("pin", std::move(pin));
  }
  return map.take();
}

YamlNode rule_node(const v1::ControlStopIpi& rule) {
  Map map;
  map.add_text("kind", rule.kind());
  if (rule.has_from()) map.add("from", std::uint64_t{rule.from()});
  if (rule.has_to()) map.add("to", std::uint64_t{rule.to()});
  if (!rule.delay().empty()) {
    Map delay;
    delay.add("delay", rule.delay());
    map.add("deliver", delay.take());
  }
  // With a delay it is there twice, which is reported.
  map.add_text("deliver", rule.deliver());
  if (rule.count() != 0) map.add("count", std::uint64_t{rule.count()});
  return map.take();
}

void add_spin(Map& map, const v1::InjectSpin& spin) {
  map.add_text("for", spin.lasts());
  map.add_text("until", spin.until());
}

}  // namespace

OpenedScenario read_open(const v1::OpenOperation& open) {
  OpenedScenario opened;
  auto& scenario = opened.scenario;
  const auto read = [&](const char* field, const auto& reader) {
    Diagnostics diagnostics("open");
    reader(diagnostics);
    if (auto text = joined(std::move(diagnostics)); !text.empty()) opened.mistakes.push_back({field, std::move(text)});
  };
  scenario.name = "control";
  scenario.summary = "A machine under a client's hands.";
  if (open.workload_size() > kMaxEntries || open.machine().pin_size() > kMaxEntries ||
      open.unfix_size() > kMaxEntries) {
    opened.mistakes.push_back({"open", fmt::format("a list of more than {} entries", kMaxEntries)});
    return opened;
  }
  read("open.machine", [&](Diagnostics& diagnostics) {
    scenario.machine = harness::read_machine(machine_node(open.machine()), diagnostics);
  });
  read("open.kernel_cmdline", [&](Diagnostics& diagnostics) {
    Map map;
    map.add_text("cmdline", open.kernel_cmdline());
    scenario.kernel_cmdline = harness::read_kernel(map.take(), diagnostics);
  });
  read("open.workload", [&](Diagnostics& diagnostics) {
    Map map;
    // In an order that is the same each time.
    std::map<std::string, std::string> sorted;
    for (const auto& entry : open.workload()) sorted.emplace(entry.first, entry.second);
    for (const auto& entry : sorted) map.add(entry.first, entry.second);
    scenario.workload = harness::read_workload(map.take(), scenario.machine.vcpus, diagnostics);
  });
  read("open.unfix", [&](Diagnostics& diagnostics) {
    auto node = list();
    for (const auto& word : open.unfix()) node.items.push_back(scalar(word));
    scenario.unfix = harness::read_unfix(node, diagnostics);
  });
  auto rules = read_stop_ipi(open.stop_ipi(), scenario.machine.vcpus);
  if (rules) {
    scenario.stop_ipi = *std::move(rules);
  } else {
    opened.mistakes.push_back({"open.stop_ipi", rules.error().message()});
  }
  return opened;
}

Result<std::vector<harness::StopIpiRule>> read_stop_ipi(
    const google::protobuf::RepeatedPtrField<v1::ControlStopIpi>& rules, std::uint32_t vcpus) {
  if (rules.size() > kMaxStopIpiRules) return invalid_input("more than {} rules", kMaxStopIpiRules);
  auto node = list();
  for (const auto& rule : rules) node.items.push_back(rule_node(rule));
  Diagnostics diagnostics("stop_ipi");
  auto read = harness::read_stop_ipi(node, vcpus, 0, diagnostics);
  if (auto text = joined(std::move(diagnostics)); !text.empty()) return invalid_input("{}", text);
  return read;
}

Result<harness::Step> read_injection(const v1::InjectOperation& inject, std::uint32_t vcpus) {
  Map map;
  map.add("cpu", std::uint64_t{inject.cpu()});
  switch (inject.action_case()) {
    case v1::InjectOperation::kPanic:
      map.add("do", "panic");
      map.add_text("message", inject.panic().message());
      break;
    case v1::InjectOperation::kOops:
      map.add("do", "oops");
      break;
    case v1::InjectOperation::kNmi:
      map.add("do", "nmi");
      break;
    case v1::InjectOperation::kMce:
      map.add("do", "mce");
      if (inject.mce().has_bank()) map.add("bank", std::uint64_t{inject.mce().bank()});
      if (inject.mce().has_status()) map.add("status", inject.mce().status());
      break;
    case v1::InjectOperation::kIrqsOff:
      map.add("do", "irqs-off");
      add_spin(map, inject.irqs_off());
      break;
    case v1::InjectOperation::kSpin:
      map.add("do", "spin");
      add_spin(map, inject.spin());
      break;
    case v1::InjectOperation::kSkip:
      map.add("do", "skip");
      break;
    case v1::InjectOperation::ACTION_NOT_SET:
      return invalid_input("there is no action to inject");
  }
  auto timeline = list();
  timeline.items.push_back(map.take());
  Diagnostics diagnostics("inject");
  const auto steps = harness::read_timeline(timeline, vcpus, diagnostics);
  if (auto text = joined(std::move(diagnostics)); !text.empty()) return invalid_input("{}", text);
  return harness::to_step(steps.front());
}

Result<harness::At> read_point(const std::string& text) {
  constexpr std::size_t kMaxPoint = 512;
  if (text.size() > kMaxPoint) return invalid_input("a point of more than {} bytes", kMaxPoint);
  return harness::parse_at(text);
}

Result<VcpuId> read_cpu(std::uint32_t cpu, std::uint32_t vcpus) {
  if (cpu >= vcpus) return invalid_input("there is no CPU {}; the machine has {}, from 0", cpu, vcpus);
  return VcpuId{cpu};
}

}  // namespace panicroom::control
