// The small functions of machine.h.
#include "hypervisor/machine.h"

#include <fmt/format.h>

namespace panicroom::hypervisor {

std::string_view name(Capability capability) {
  switch (capability) {
    case Capability::kSnapshot:
      return "snapshot";
    case Capability::kIpiPolicy:
      return "ipi-policy";
    case Capability::kTargetedNmi:
      return "targeted-nmi";
    case Capability::kIpiRecord:
      return "ipi-record";
    case Capability::kMce:
      return "mce";
  }
  return "unknown";
}

std::string to_text(const MachineCheck& error) { return fmt::format("{:#x} in bank {}", error.status, error.bank); }

std::uint64_t global_status(const MachineCheck& error) {
  constexpr std::uint64_t kContextCorrupt = 1ull << 57;
  constexpr std::uint64_t kRestartable = 1U << 0;
  constexpr std::uint64_t kInProgress = 1U << 2;
  return kInProgress | ((error.status & kContextCorrupt) == 0 ? kRestartable : 0);
}

bool stops(const Event& event) {
  return std::holds_alternative<BreakpointHit>(event) || std::holds_alternative<IpiSent>(event) ||
         std::holds_alternative<GuestReset>(event) || std::holds_alternative<GuestShutdown>(event) ||
         std::holds_alternative<Paused>(event) || std::holds_alternative<MachineLost>(event);
}

bool is_hit_of(const Event& event, VcpuId vcpu) {
  const auto* hit = std::get_if<BreakpointHit>(&event);
  return hit != nullptr && hit->vcpu == vcpu;
}

}  // namespace panicroom::hypervisor
