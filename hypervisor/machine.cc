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
    case Capability::kMce:
      return "mce";
  }
  return "unknown";
}

std::string to_text(const MachineCheck& error) { return fmt::format("{:#x} in bank {}", error.status, error.bank); }

bool stops(const Event& event) {
  return std::holds_alternative<BreakpointHit>(event) || std::holds_alternative<IpiSent>(event) ||
         std::holds_alternative<GuestReset>(event) || std::holds_alternative<GuestShutdown>(event) ||
         std::holds_alternative<Paused>(event) || std::holds_alternative<MachineLost>(event);
}

}  // namespace panicroom::hypervisor
