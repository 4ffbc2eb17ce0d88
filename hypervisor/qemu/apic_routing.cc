#include "hypervisor/qemu/apic_routing.h"

#include <bit>
#include <charconv>

namespace panicroom::qemu {
namespace {

using hypervisor::DeliveryMode;

// The hexadecimal number after the first `name` that begins a word.
std::optional<std::uint32_t> number_after(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const bool begins = at == 0 || std::string_view(" \t\r\n").find(text[at - 1]) != std::string_view::npos;
    auto rest = text.substr(at + name.size());
    const auto digits = rest.find_first_not_of(" \t");
    if (!begins || digits == 0 || digits == std::string_view::npos) continue;
    rest.remove_prefix(digits);
    if (!rest.starts_with("0x")) continue;
    rest.remove_prefix(2);
    std::uint32_t value = 0;
    const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), value, 16);
    if (parsed.ec == std::errc()) return value;
  }
  return std::nullopt;
}

constexpr std::uint8_t kBroadcast = 0xff;

bool addressed(std::uint8_t destination, bool logical, std::uint32_t id, const ApicState& apic) {
  if (destination == kBroadcast) return true;
  if (!logical) return destination == id;
  const auto logical_id = static_cast<std::uint8_t>(apic.logical_destination);
  constexpr std::uint32_t kFlat = 0xf;
  if (apic.destination_format == kFlat) return (destination & logical_id) != 0;
  return (destination >> 4) == (logical_id >> 4) && (destination & logical_id & 0xf) != 0;
}

}  // namespace

Result<ApicState> parse_info_lapic(std::string_view text) {
  const auto icr_high = number_after(text, "ICR2");
  const auto ldr = number_after(text, "LDR");
  const auto dfr = number_after(text, "DFR");
  if (!icr_high || !ldr || !dfr) {
    return host_error("QEMU's `info lapic` does not tell ICR2, LDR and DFR: \"{}\"", text.substr(0, 200));
  }
  return ApicState{*icr_high, *ldr, *dfr};
}

std::optional<IcrCommand> decode_icr(std::uint32_t low) {
  const auto mode = (low >> 8) & 7;
  if (mode == 3 || mode == 7) return std::nullopt;
  IcrCommand command;
  command.vector = static_cast<std::uint8_t>(low);
  command.mode = static_cast<DeliveryMode>(mode);
  command.logical = ((low >> 11) & 1) != 0;
  command.assert_level = ((low >> 14) & 1) != 0;
  command.level_triggered = ((low >> 15) & 1) != 0;
  command.shorthand = static_cast<IcrCommand::Shorthand>((low >> 18) & 3);
  return command;
}

std::vector<VcpuId> targets_of(const IcrCommand& command, VcpuId source, const std::vector<ApicState>& apics,
                               std::uint32_t vcpus) {
  using Shorthand = IcrCommand::Shorthand;
  std::vector<VcpuId> targets;
  const auto destination =
      index(source) < apics.size() ? static_cast<std::uint8_t>(apics[index(source)].icr_high >> 24) : std::uint8_t{0};
  for (std::uint32_t id = 0; id < vcpus; ++id) {
    const VcpuId vcpu{id};
    bool is_target = false;
    switch (command.shorthand) {
      case Shorthand::kNone:
        is_target = id < apics.size() && addressed(destination, command.logical, id, apics[id]);
        break;
      case Shorthand::kSelf:
        is_target = vcpu == source;
        break;
      case Shorthand::kAllIncludingSelf:
        is_target = true;
        break;
      case Shorthand::kAllExcludingSelf:
        is_target = vcpu != source;
        break;
    }
    if (is_target) targets.push_back(vcpu);
  }
  return targets;
}

Routing route(const IcrCommand& command, VcpuId source, std::vector<VcpuId> targets,
              const hypervisor::IpiPolicy& policy) {
  // Messages can carry everything but these.
  const bool deassert = command.mode == DeliveryMode::kInit && command.level_triggered && !command.assert_level;
  const bool only_as_sent = command.mode == DeliveryMode::kStartup || deassert;

  Routing routing;
  for (const auto target : targets) {
    Delivered delivered{command.mode, command.vector, {}};
    bool as_sent = true;
    const auto decided_by = policy.deciding(command.mode, command.vector, source, target);
    routing.decided_by.push_back(decided_by);
    if (decided_by) {
      const auto& rule = policy.rule(*decided_by);
      if (std::holds_alternative<hypervisor::DeliverAsNmi>(rule.delivery)) {
        as_sent = command.mode == DeliveryMode::kNmi;
        delivered.mode = DeliveryMode::kNmi;
      } else if (const auto* irq = std::get_if<hypervisor::DeliverAsIrq>(&rule.delivery)) {
        as_sent = command.mode == DeliveryMode::kFixed;
        delivered.mode = DeliveryMode::kFixed;
        if (command.mode == DeliveryMode::kNmi) delivered.vector = irq->nmi_becomes;
      } else if (std::holds_alternative<hypervisor::Drop>(rule.delivery)) {
        as_sent = false;
        delivered.mode = std::nullopt;
      } else if (const auto* delay = std::get_if<hypervisor::Delay>(&rule.delivery)) {
        if (!only_as_sent) {
          as_sent = false;
          delivered.delay = delay->by;
        }
      }
    }
    routing.as_sent = routing.as_sent && as_sent;
    routing.delivered.push_back(delivered);
  }

  // One of several: the choice stays the hardware's only if the store executes. Else it is the first that is not
  // spared.
  if (!routing.as_sent && command.mode == DeliveryMode::kLowestPriority) {
    bool taken = false;
    for (auto& delivered : routing.delivered) {
      if (delivered.mode != DeliveryMode::kLowestPriority) continue;
      if (taken)
        delivered.mode = std::nullopt;
      else
        delivered.mode = DeliveryMode::kFixed;
      taken = true;
    }
  }
  if (!routing.as_sent && only_as_sent) {
    // Some target needs the store itself: then all have it.
    bool needs_store = false;
    for (const auto& delivered : routing.delivered) needs_store = needs_store || delivered.mode == command.mode;
    if (needs_store) {
      routing.as_sent = true;
      for (auto& delivered : routing.delivered) delivered = Delivered{command.mode, command.vector, {}};
    }
  }

  routing.ipi = {source, std::move(targets), command.vector, command.mode, {}};
  for (const auto& delivered : routing.delivered) routing.ipi.delivered_as.push_back(delivered.mode);
  return routing;
}

Msi msi_for(VcpuId target, hypervisor::DeliveryMode mode, std::uint8_t vector) {
  // Physical destination mode, edge-triggered (SDM Vol. 3, figures 11-24 and 11-25).
  constexpr std::uint64_t kMessageAddress = 0xfee00000;
  return {Gpa{kMessageAddress | (std::uint64_t{index(target) & 0xff} << 12)},
          (static_cast<std::uint32_t>(mode) << 8) | vector};
}

}  // namespace panicroom::qemu
