// What interrupts look like between the local APICs and the IOAPIC: messages, who they are for, and the command by
// which a vCPU sends one (Intel SDM Vol. 3, 11.6). Plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "hypervisor/ipi.h"

namespace panicroom::kvm {

using hypervisor::DeliveryMode;

// One moment by the guest's clocks: the machine's virtual clock, which stands still while the machine is stopped, and
// the time-stamp counter of the vCPU in question.
struct Now {
  std::chrono::nanoseconds clock{0};
  std::uint64_t tsc = 0;
};

enum class TriggerMode : std::uint8_t { kEdge = 0, kLevel = 1 };

struct Message {
  DeliveryMode mode = DeliveryMode::kFixed;
  std::uint8_t vector = 0;  // Without meaning for SMI, NMI and INIT.
  TriggerMode trigger = TriggerMode::kEdge;

  friend bool operator==(const Message&, const Message&) = default;
};

// Whom a message addresses (SDM Vol. 3, 11.6.2). A sender whose field has 8 bits has made its 0xff the broadcast that
// it means; see destination_of().
struct Destination {
  static constexpr std::uint32_t kBroadcast = 0xffff'ffff;

  std::uint32_t address = 0;  // A physical or a logical APIC ID.
  bool logical = false;

  friend bool operator==(const Destination&, const Destination&) = default;
};
// Of the 8-bit fields in the xAPIC's ICR and the IOAPIC's redirection table.
constexpr Destination destination_of(std::uint8_t field, bool logical) {
  return {.address = field == 0xff ? Destination::kBroadcast : field, .logical = logical};
}

// ICR bits 18 and 19.
enum class Shorthand : std::uint8_t { kNone = 0, kSelf = 1, kAllIncludingSelf = 2, kAllExcludingSelf = 3 };

// What a vCPU asks its local APIC to send (SDM Vol. 3, figures 11-12 and 11-28).
struct IcrCommand {
  std::uint8_t vector = 0;
  DeliveryMode mode = DeliveryMode::kFixed;
  bool assert_level = true;
  bool level_triggered = false;
  Shorthand shorthand = Shorthand::kNone;
  Destination destination;  // Without meaning if there is a shorthand.

  // INIT Level De-assert, which has had no effect since the Pentium 4 (SDM Vol. 3, 11.6.1).
  [[nodiscard]] bool is_init_deassert() const {
    return mode == DeliveryMode::kInit && level_triggered && !assert_level;
  }
  friend bool operator==(const IcrCommand&, const IcrCommand&) = default;
};
// Nothing for the reserved delivery modes 3 and 7. In xAPIC mode the destination is bits 24 to 31 of `high`, in x2APIC
// mode all of it.
std::optional<IcrCommand> decode_icr(std::uint32_t low, std::uint32_t high, bool x2apic);

}  // namespace panicroom::kvm
