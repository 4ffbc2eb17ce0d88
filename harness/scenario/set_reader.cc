#include "harness/scenario/set_reader.h"

#include <algorithm>
#include <array>

#include "base/spelling.h"
#include "harness/scenario/values.h"

namespace panicroom::harness {
namespace {

struct Flag {
  std::string_view name;
  std::uint64_t mask;
};
// Without TF and RF: they belong to the engine, which steps with them.
constexpr std::array<Flag, 9> kFlags = {{
    {"cf", hypervisor::kRflagsCf},
    {"pf", hypervisor::kRflagsPf},
    {"af", hypervisor::kRflagsAf},
    {"zf", hypervisor::kRflagsZf},
    {"sf", hypervisor::kRflagsSf},
    {"if", hypervisor::kRflagsIf},
    {"df", hypervisor::kRflagsDf},
    {"of", hypervisor::kRflagsOf},
    {"ac", hypervisor::kRflagsAc},
}};

void unknown(const NamedNode& entry, std::string_view kind, std::span<const std::string_view> names,
             Diagnostics& diagnostics) {
  diagnostics.add(entry.at, "{} is not a {}{}; there are {}", shown(entry.name), kind, did_you_mean(entry.name, names),
                  fmt::join(names, ", "));
}

// `registers` and `add`: a machine word for each general-purpose register that is named.
template <typename T>
void read_registers(const YamlNode& node, std::string_view what, DoSet& set, Diagnostics& diagnostics) {
  std::array<std::string_view, hypervisor::kGprCount> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = name(static_cast<hypervisor::Gpr>(i));
  for (const NamedNode& entry : entries(node, what, diagnostics)) {
    const auto found = std::ranges::find(names, entry.name);
    if (found == names.end()) {
      unknown(entry, "general-purpose register", names, diagnostics);
      continue;
    }
    if (const auto value = read_machine_word(*entry.value, entry.name, diagnostics)) {
      set.values.emplace_back(T{.gpr = static_cast<hypervisor::Gpr>(found - names.begin()), .value = *value});
    }
  }
}

void read_flags(const YamlNode& node, DoSet& set, Diagnostics& diagnostics) {
  std::array<std::string_view, kFlags.size()> names;
  std::ranges::transform(kFlags, names.begin(), &Flag::name);
  for (const NamedNode& entry : entries(node, "flags", diagnostics)) {
    const auto found = std::ranges::find(kFlags, entry.name, &Flag::name);
    if (found == kFlags.end()) {
      unknown(entry, "flag that can be set", names, diagnostics);
      continue;
    }
    if (const auto value = read_whole_number(*entry.value, entry.name, 0, 1, diagnostics)) {
      set.values.emplace_back(SetFlag{.mask = found->mask, .value = *value == 1});
    }
  }
}

std::optional<std::variant<std::uint64_t, std::string>> read_address(const YamlNode& node, Diagnostics& diagnostics) {
  const auto text = read_text(node, "address", diagnostics);
  if (!text) return std::nullopt;
  if (text->starts_with("0x")) {
    if (const auto address = parse_machine_word(*text)) return *address;
  } else if (const auto spec = kernels::PointSpec::parse(*text)) {
    const auto* symbol = std::get_if<kernels::SymbolPoint>(&spec->what);
    if (symbol != nullptr && text->find('+') == std::string::npos) return symbol->symbol;
  }
  diagnostics.add(node.at, "'address': {} is neither a kernel symbol nor an address such as 0xffffffff81000000",
                  shown(*text));
  return std::nullopt;
}

// Whether the value, signed or unsigned, fits into so many bytes.
bool fits(std::uint64_t value, std::uint64_t size) {
  if (size == 8) return true;
  const std::uint64_t limit = 1ull << (8 * size);
  return value < limit || value >= 0 - limit / 2;
}

void read_memory(const YamlNode& node, DoSet& set, Diagnostics& diagnostics) {
  constexpr std::array<std::string_view, 3> kKeys = {"address", "value", "size"};
  for (const YamlNode& item : read_list(node, "memory", "[{address: panic_cpu, value: -1, size: 4}]", diagnostics)) {
    const Fields fields(item, "an entry of memory", kKeys, diagnostics);
    const YamlNode* address_node = fields.require("address");
    const YamlNode* value_node = fields.require("value");
    const YamlNode* size_node = fields.require("size");
    const auto address = address_node != nullptr ? read_address(*address_node, diagnostics) : std::nullopt;
    const auto value = value_node != nullptr ? read_machine_word(*value_node, "value", diagnostics) : std::nullopt;
    const auto size = size_node != nullptr ? read_whole_number(*size_node, "size", 1, 8, diagnostics) : std::nullopt;
    if (size && (*size & (*size - 1)) != 0) {
      diagnostics.add(size_node->at, "'size' is 1, 2, 4 or 8 bytes, not {}", *size);
      continue;
    }
    if (!address || !value || !size) continue;
    if (!fits(*value, *size)) {
      diagnostics.add(value_node->at, "'value': {} does not fit into {} byte(s)", shown(value_node->text), *size);
      continue;
    }
    const std::uint64_t mask = *size == 8 ? ~0ull : (1ull << (8 * *size)) - 1;
    set.values.emplace_back(
        SetMemory{.address = *address, .value = *value & mask, .size = static_cast<std::uint8_t>(*size)});
  }
}

struct SetText {
  std::string operator()(const SetRegister& value) const { return std::string(name(value.gpr)); }
  std::string operator()(const AddToRegister& value) const { return fmt::format("{}+", name(value.gpr)); }
  std::string operator()(const SetFlag& value) const {
    const auto found = std::ranges::find(kFlags, value.mask, &Flag::mask);
    return found == kFlags.end() ? fmt::format("flag {:#x}", value.mask) : std::string(found->name);
  }
  std::string operator()(const SetMemory& value) const {
    const auto* symbol = std::get_if<std::string>(&value.address);
    return symbol != nullptr ? *symbol : fmt::format("{:#x}", std::get<std::uint64_t>(value.address));
  }
};

}  // namespace

std::optional<Action> read_set(const Fields& step, Diagnostics& diagnostics) {
  DoSet set;
  const std::size_t mistakes = diagnostics.count();
  if (const YamlNode* node = step.find("registers")) read_registers<SetRegister>(*node, "registers", set, diagnostics);
  if (const YamlNode* node = step.find("add")) read_registers<AddToRegister>(*node, "add", set, diagnostics);
  if (const YamlNode* node = step.find("flags")) read_flags(*node, set, diagnostics);
  if (const YamlNode* node = step.find("memory")) read_memory(*node, set, diagnostics);
  if (diagnostics.count() != mistakes) return std::nullopt;
  if (set.values.empty()) {
    diagnostics.add(step.key_at("do"), "'set' sets nothing: give it 'registers', 'add', 'flags' or 'memory'");
    return std::nullopt;
  }
  return set;
}

std::string to_text(const DoSet& set) {
  std::vector<std::string> names;
  for (const auto& value : set.values) names.push_back(std::visit(SetText{}, value));
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace panicroom::harness
