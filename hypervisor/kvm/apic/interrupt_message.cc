// The interrupt command register taken apart.
#include "hypervisor/kvm/apic/interrupt_message.h"

#include "hypervisor/kvm/apic/local_apic_registers.h"

namespace panicroom::kvm {

std::optional<IcrCommand> decode_icr(std::uint32_t low, std::uint32_t high, bool x2apic) {
  const std::uint32_t mode = (low >> apic::kDeliveryModeShift) & apic::kDeliveryModeMask;
  if (mode == 3 || mode == 7) return std::nullopt;
  IcrCommand command;
  command.vector = static_cast<std::uint8_t>(low);
  command.mode = static_cast<DeliveryMode>(mode);
  command.assert_level = (low & apic::kIcrLevelAssert) != 0;
  command.level_triggered = (low & apic::kIcrTriggerLevel) != 0;
  command.shorthand = static_cast<Shorthand>((low >> apic::kIcrShorthandShift) & 3);
  const bool logical = (low & apic::kIcrLogical) != 0;
  command.destination = x2apic ? Destination{.address = high, .logical = logical}
                               : destination_of(static_cast<std::uint8_t>(high >> apic::kXapicIdShift), logical);
  return command;
}

}  // namespace panicroom::kvm
