#include "harness/scenario/machine_reader.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "agent/protocol/workloads.h"
#include "base/spelling.h"
#include "harness/scenario/fields.h"
#include "harness/scenario/values.h"

namespace panicroom::harness {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint32_t kMaxVcpus = 64;
constexpr std::uint64_t kMinMemory = 64 * kMiB;
constexpr std::uint64_t kMaxMemory = 1ull << 40;
constexpr std::uint32_t kMaxHostCpu = 8191;
constexpr std::uint32_t kMaxIpiCount = 1'000'000;
// COMMAND_LINE_SIZE on x86 is 2048; the other half is the harness's own.
constexpr std::size_t kMaxCmdline = 1024;

// A size that kernels and engines take without rounding.
std::optional<std::uint64_t> read_mebibytes(const YamlNode& node, std::string_view what, std::uint64_t low,
                                            std::string_view low_text, Diagnostics& diagnostics) {
  const auto bytes = read_size(node, what, diagnostics);
  if (!bytes) return std::nullopt;
  if (*bytes < low || *bytes > kMaxMemory || *bytes % kMiB != 0) {
    diagnostics.add(node.at, "'{}' is {}: it goes from {} to 1T, in whole megabytes (M)", what, shown(node.text),
                    low_text);
    return std::nullopt;
  }
  return bytes;
}

std::vector<std::uint32_t> read_pin(const YamlNode& node, std::uint32_t vcpus, Diagnostics& diagnostics) {
  std::vector<std::uint32_t> pin;
  const auto items = read_list(node, "pin", "[0, 1]", diagnostics);
  for (const YamlNode& item : items) {
    const auto cpu = read_whole_number(item, "pin", 0, kMaxHostCpu, diagnostics);
    pin.push_back(static_cast<std::uint32_t>(cpu.value_or(0)));
  }
  if (node.kind == YamlNode::Kind::kSequence && items.size() != vcpus) {
    diagnostics.add(node.at, "'pin' names {} host CPU(s) for {} vCPU(s): it has one for each", items.size(), vcpus);
  }
  return pin;
}

// --- stop_ipi

// What a rule's `kind` stands for, in the fields of an IpiRule. Without a kind a rule stands for both ways to stop a
// CPU.
struct IpiKind {
  std::optional<hypervisor::DeliveryMode> mode;
  std::optional<std::uint8_t> vector;
};
constexpr IpiKind kRebootIpi{.mode = std::nullopt, .vector = hypervisor::kRebootVector};
constexpr IpiKind kNmiIpi{.mode = hypervisor::DeliveryMode::kNmi, .vector = std::nullopt};

std::optional<std::vector<IpiKind>> read_kind(const YamlNode* node, Diagnostics& diagnostics) {
  if (node == nullptr) return std::vector{kRebootIpi, kNmiIpi};
  const auto text = read_text(*node, "kind", diagnostics);
  if (!text) return std::nullopt;
  if (*text == "stop") return std::vector{kRebootIpi};
  if (*text == "nmi") return std::vector{kNmiIpi};
  if (text->starts_with("0x")) {
    const auto at = parse_at("ipi:" + *text);
    if (at) return std::vector{IpiKind{.mode = std::nullopt, .vector = std::get<AtIpi>(*at).vector}};
  }
  constexpr std::array<std::string_view, 2> kKinds = {"stop", "nmi"};
  diagnostics.add(node->at, "'kind': {} is not known{}; it is stop (vector 0xf8), nmi or a vector such as 0xf8",
                  shown(*text), did_you_mean(*text, kKinds));
  return std::nullopt;
}

std::optional<hypervisor::Delivery> read_delivery(const YamlNode& node, Diagnostics& diagnostics) {
  if (node.kind == YamlNode::Kind::kMap) {
    constexpr std::array<std::string_view, 1> kKeys = {"delay"};
    const Fields fields(node, "deliver", kKeys, diagnostics);
    const YamlNode* delay = fields.require("delay");
    const auto by = delay != nullptr ? read_duration(*delay, "delay", diagnostics) : std::nullopt;
    if (!by) return std::nullopt;
    return hypervisor::Delay{.by = *by};
  }
  constexpr std::array<std::string_view, 5> kWords = {"as-sent", "nmi", "irq", "drop", "{delay: 2s}"};
  const auto word = read_word(node, "deliver", kWords, diagnostics);
  if (!word) return std::nullopt;
  switch (*word) {
    case 0:
      return hypervisor::DeliverAsSent{};
    case 1:
      return hypervisor::DeliverAsNmi{};
    case 2:
      return hypervisor::DeliverAsIrq{};
    case 3:
      return hypervisor::Drop{};
    default:
      // The text "{delay: 2s}" in quotes: a text where the map is meant.
      diagnostics.add(node.at, "'deliver': the delay is written without quotes: {{delay: 2s}}");
      return std::nullopt;
  }
}

// Whether `before` matches every IPI that `after` matches, at any time.
bool covers(const StopIpiRule& before, const StopIpiRule& after) {
  const auto& [earlier, earlier_from] = before;
  const auto& [later, later_from] = after;
  return !earlier.count && earlier_from <= later_from && (!earlier.mode || earlier.mode == later.mode) &&
         (!earlier.vector || earlier.vector == later.vector) && (!earlier.source || earlier.source == later.source) &&
         (!earlier.target || earlier.target == later.target);
}

// `count` and `after_step`: from when on and how often a rule decides.
void read_moment(const Fields& fields, std::size_t steps, StopIpiRule& rule, Diagnostics& diagnostics) {
  if (const YamlNode* count = fields.find("count")) {
    const auto value = read_whole_number(*count, "count", 1, kMaxIpiCount, diagnostics);
    if (value) rule.rule.count = static_cast<std::uint32_t>(*value);
    if (fields.find("kind") == nullptr) {
      diagnostics.add(fields.key_at("count"), "'count' counts the IPIs of one kind: this rule has no 'kind'");
    }
  }
  const YamlNode* after_step = fields.find("after_step");
  if (after_step == nullptr) return;
  const auto value =
      read_whole_number(*after_step, "after_step", 1, std::numeric_limits<std::uint32_t>::max(), diagnostics);
  if (!value) return;
  if (*value > steps) {
    diagnostics.add(after_step->at, "'after_step': there is no step {}; the timeline has {}", *value, steps);
    return;
  }
  rule.after_step = static_cast<std::uint32_t>(*value);
}

void read_rule(const YamlNode& node, std::uint32_t vcpus, std::size_t steps, std::vector<StopIpiRule>& rules,
               Diagnostics& diagnostics) {
  constexpr std::array<std::string_view, 6> kKeys = {"kind", "from", "to", "deliver", "count", "after_step"};
  const Fields fields(node, "stop_ipi", kKeys, diagnostics);
  if (!fields.is_map()) return;
  const std::size_t mistakes = diagnostics.count();
  StopIpiRule timed;
  hypervisor::IpiRule& rule = timed.rule;
  read_moment(fields, steps, timed, diagnostics);
  const auto kinds = read_kind(fields.find("kind"), diagnostics);
  if (const YamlNode* from = fields.find("from")) rule.source = read_cpu(*from, "from", vcpus, diagnostics);
  if (const YamlNode* to = fields.find("to")) rule.target = read_cpu(*to, "to", vcpus, diagnostics);
  const YamlNode* deliver = fields.require("deliver");
  const auto delivery = deliver != nullptr ? read_delivery(*deliver, diagnostics) : std::nullopt;
  if (diagnostics.count() != mistakes || !kinds || !delivery) return;
  rule.delivery = *delivery;
  const std::size_t before = rules.size();
  for (const IpiKind& kind : *kinds) {
    rule.mode = kind.mode;
    rule.vector = kind.vector;
    const bool decided =
        std::any_of(rules.begin(), rules.end(), [&](const auto& earlier) { return covers(earlier, timed); });
    if (!decided) rules.push_back(timed);
  }
  if (rules.size() == before) {
    diagnostics.add(node.at, "this rule never decides: the rules before it match all that it matches");
  }
}

// --- Kernel versions

// Up to three numbers: "5.10".
bool is_version(std::string_view text) {
  for (int parts = 1; parts <= 3; ++parts) {
    const auto dot = text.find('.');
    const auto part = parse_whole_number(text.substr(0, dot));
    if (!part || *part > 999) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
  return false;
}

void read_kernel_bound(const YamlNode& node, KernelRange& range, Diagnostics& diagnostics) {
  const auto text = read_text(node, "kernel", diagnostics);
  if (!text) return;
  const bool at_least = text->starts_with(">=");
  const std::size_t sign = at_least ? 2 : 1;
  if ((!at_least && !text->starts_with("<")) || !is_version(std::string_view(*text).substr(sign))) {
    diagnostics.add(node.at, "'kernel': {} is not a bound such as \">=5.10\" or \"<6.6\"", shown(*text));
    return;
  }
  auto& bound = at_least ? range.at_least : range.below;
  if (bound) {
    diagnostics.add(node.at, "'kernel': {} is a second {} bound", shown(*text), at_least ? "lower" : "upper");
    return;
  }
  bound = text->substr(sign);
}

constexpr std::array kCapabilities = {hypervisor::Capability::kSnapshot, hypervisor::Capability::kIpiPolicy,
                                      hypervisor::Capability::kTargetedNmi, hypervisor::Capability::kMce,
                                      hypervisor::Capability::kIpiRecord};

}  // namespace

MachineSpec read_machine(const YamlNode& node, Diagnostics& diagnostics) {
  MachineSpec machine;
  constexpr std::array<std::string_view, 5> kKeys = {"vcpus", "memory", "crashkernel", "pin", "kexec"};
  const Fields fields(node, "machine", kKeys, diagnostics);
  if (const YamlNode* vcpus = fields.find("vcpus")) {
    const auto value = read_whole_number(*vcpus, "vcpus", 1, kMaxVcpus, diagnostics);
    machine.vcpus = static_cast<std::uint32_t>(value.value_or(machine.vcpus));
  }
  bool sizes_known = true;
  if (const YamlNode* memory = fields.find("memory")) {
    const auto value = read_mebibytes(*memory, "memory", kMinMemory, "64M", diagnostics);
    sizes_known = value.has_value();
    machine.memory_bytes = value.value_or(machine.memory_bytes);
  }
  const YamlNode* crashkernel = fields.find("crashkernel");
  if (crashkernel != nullptr) {
    const auto value = read_mebibytes(*crashkernel, "crashkernel", kMiB, "1M", diagnostics);
    sizes_known = sizes_known && value.has_value();
    machine.crashkernel_bytes = value.value_or(machine.crashkernel_bytes);
  }
  if (sizes_known && machine.crashkernel_bytes >= machine.memory_bytes) {
    diagnostics.add(crashkernel != nullptr ? crashkernel->at : fields.find("memory")->at,
                    "'crashkernel' of {}M does not fit into 'memory' of {}M", machine.crashkernel_bytes / kMiB,
                    machine.memory_bytes / kMiB);
  }
  if (const YamlNode* pin = fields.find("pin")) machine.pin = read_pin(*pin, machine.vcpus, diagnostics);
  if (const YamlNode* kexec = fields.find("kexec")) {
    constexpr std::array<std::string_view, 2> kNames = {"file", "load"};
    constexpr std::array<agent::KexecCall, kNames.size()> kValues = {agent::KexecCall::kFileLoad,
                                                                     agent::KexecCall::kLoad};
    if (const auto word = read_word(*kexec, "kexec", kNames, diagnostics)) machine.kexec = kValues[*word];
  }
  return machine;
}

std::string read_kernel(const YamlNode& node, Diagnostics& diagnostics) {
  constexpr std::array<std::string_view, 1> kKeys = {"cmdline"};
  const Fields fields(node, "kernel", kKeys, diagnostics);
  const YamlNode* cmdline = fields.find("cmdline");
  if (cmdline == nullptr) return "";
  const auto text = read_text(*cmdline, "cmdline", diagnostics);
  if (!text) return "";
  if (text->size() > kMaxCmdline || !std::ranges::all_of(*text, [](char c) { return c >= 0x20 && c < 0x7f; })) {
    diagnostics.add(cmdline->at, "'cmdline' is one line of at most {} printable ASCII characters", kMaxCmdline);
    return "";
  }
  const std::string padded = " " + *text;
  if (padded.find(" crashkernel=") != std::string::npos) {
    diagnostics.add(cmdline->at, "'cmdline': crashkernel= is set by the key 'crashkernel' of 'machine'");
  }
  if (padded.find(" rdinit=") != std::string::npos || padded.find(" init=") != std::string::npos) {
    diagnostics.add(cmdline->at, "'cmdline': init= and rdinit= would replace panicroom's agent");
  }
  return *text;
}

std::vector<std::string> read_workload(const YamlNode& node, std::uint32_t vcpus, Diagnostics& diagnostics) {
  std::vector<std::string> workload(vcpus, std::string(kDefaultWorkload));
  std::vector<std::string_view> names;
  for (const agent::Workload& known : agent::workloads()) {
    if (!known.once) names.push_back(known.name);
  }
  for (const NamedNode& entry : entries(node, "workload", diagnostics)) {
    const auto* once = agent::find_workload(entry.value->text);
    if (once != nullptr && once->once) {
      diagnostics.add(entry.value->at, "'{}' happens once: it begins at a step, {{do: start, workload: {}}}",
                      once->name, once->name);
      continue;
    }
    const auto cpu = read_cpu_key(entry, "workload", vcpus, diagnostics);
    const auto word = read_word(*entry.value, cpu ? entry.name : "workload", names, diagnostics);
    if (cpu && word) workload[*cpu] = names[*word];
  }
  return workload;
}

std::vector<StopIpiRule> read_stop_ipi(const YamlNode& node, std::uint32_t vcpus, std::size_t steps,
                                       Diagnostics& diagnostics) {
  std::vector<StopIpiRule> rules;
  if (node.kind == YamlNode::Kind::kSequence) {
    for (const YamlNode& item : node.items) read_rule(item, vcpus, steps, rules, diagnostics);
  } else {
    read_rule(node, vcpus, steps, rules, diagnostics);
  }
  // What no rule matches is delivered as sent anyway; a policy of nothing else asks nothing of an engine.
  while (!rules.empty() && std::holds_alternative<hypervisor::DeliverAsSent>(rules.back().rule.delivery)) {
    rules.pop_back();
  }
  return rules;
}

std::vector<Unfix> read_unfix(const YamlNode& node, Diagnostics& diagnostics) {
  std::vector<Unfix> unfix;
  constexpr std::array<std::string_view, 1> kNames = {"panic-gate"};
  constexpr std::array<Unfix, kNames.size()> kValues = {Unfix::kPanicGate};
  for (const YamlNode& item : read_list(node, "unfix", "[panic-gate]", diagnostics)) {
    const auto word = read_word(item, "unfix", kNames, diagnostics);
    if (!word) continue;
    if (std::ranges::find(unfix, kValues[*word]) != unfix.end()) {
      diagnostics.add(item.at, "'unfix' names {} twice", shown(item.text));
      continue;
    }
    unfix.push_back(kValues[*word]);
  }
  return unfix;
}

KernelRange read_kernel_range(const YamlNode& node, Diagnostics& diagnostics) {
  KernelRange range;
  if (node.kind == YamlNode::Kind::kSequence) {
    for (const YamlNode& item : node.items) read_kernel_bound(item, range, diagnostics);
  } else {
    read_kernel_bound(node, range, diagnostics);
  }
  if (range.at_least && range.below && version_of(*range.at_least) >= version_of(*range.below)) {
    diagnostics.add(node.at, "'kernel': no version is >={} and <{}", *range.at_least, *range.below);
  }
  return range;
}

Requirements read_requires(const YamlNode& node, Diagnostics& diagnostics) {
  Requirements requirements;
  constexpr std::array<std::string_view, 3> kKeys = {"kernel", "engine", "symbols"};
  const Fields fields(node, "requires", kKeys, diagnostics);
  if (const YamlNode* kernel = fields.find("kernel")) requirements.kernel = read_kernel_range(*kernel, diagnostics);
  if (const YamlNode* engine = fields.find("engine")) {
    std::array<std::string_view, kCapabilities.size()> names;
    std::ranges::transform(kCapabilities, names.begin(), [](auto capability) { return name(capability); });
    for (const YamlNode& item : read_list(*engine, "engine", "[ipi-policy]", diagnostics)) {
      if (const auto word = read_word(item, "engine", names, diagnostics)) {
        requirements.capabilities.push_back(kCapabilities[*word]);
      }
    }
  }
  if (const YamlNode* symbols = fields.find("symbols")) {
    for (const YamlNode& item : read_list(*symbols, "symbols", "[vpanic]", diagnostics)) {
      const auto text = read_text(item, "symbols", diagnostics);
      if (!text) continue;
      const auto spec = kernels::PointSpec::parse(*text);
      if (!spec || !std::holds_alternative<kernels::SymbolPoint>(spec->what) || text->find('+') != std::string::npos) {
        diagnostics.add(item.at, "'symbols': {} is not the name of a kernel symbol", shown(*text));
        continue;
      }
      requirements.symbols.push_back(*text);
    }
  }
  return requirements;
}

}  // namespace panicroom::harness
