// The names of delivery modes, as ipi.h declares them.
#include "hypervisor/ipi.h"

namespace panicroom::hypervisor {

std::string_view name(DeliveryMode mode) {
  switch (mode) {
    case DeliveryMode::kFixed:
      return "fixed";
    case DeliveryMode::kLowestPriority:
      return "lowest-priority";
    case DeliveryMode::kSmi:
      return "smi";
    case DeliveryMode::kNmi:
      return "nmi";
    case DeliveryMode::kInit:
      return "init";
    case DeliveryMode::kStartup:
      return "startup";
  }
  return "reserved";
}

}  // namespace panicroom::hypervisor
