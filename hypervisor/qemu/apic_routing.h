// Who gets an IPI and in what form: the local APIC's addressing (Intel SDM Vol. 3, 11.6), and the rules of a policy
// applied to it. Pure; how an interrupt is then brought about is the machine's.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/ipi.h"
#include "hypervisor/ipi_policy.h"

namespace panicroom::qemu {

// The local APIC's registers that decide which interrupts are for it.
struct ApicState {
  std::uint32_t icr_high = 0;  // SDM Vol. 3, figure 11-12: destination in bits 24 to 31.
  std::uint32_t logical_destination =
      0;  // LDR, figure 11-13: the logical APIC ID, here already shifted down to 8 bits.
  std::uint32_t destination_format = 0xf;  // DFR, figure 11-14: the model in its 4 bits; 0xf flat, 0 cluster.
};

// From the text of QEMU's monitor command `info lapic`. kHost if it is not that.
Result<ApicState> parse_info_lapic(std::string_view text);

// The command in ICR bits 0 to 31.
struct IcrCommand {
  std::uint8_t vector = 0;
  hypervisor::DeliveryMode mode = hypervisor::DeliveryMode::kFixed;
  bool logical = false;
  bool assert_level = true;
  bool level_triggered = false;
  enum class Shorthand { kNone, kSelf, kAllIncludingSelf, kAllExcludingSelf } shorthand = Shorthand::kNone;
};
// Nothing for the reserved delivery modes 3 and 7.
std::optional<IcrCommand> decode_icr(std::uint32_t low);

// The vCPUs that the command addresses, ascending. vCPU n has APIC ID n; `apics` has one entry for each vCPU, and may
// be empty if the command has a shorthand.
std::vector<VcpuId> targets_of(const IcrCommand& command, VcpuId source, const std::vector<ApicState>& apics,
                               std::uint32_t vcpus);

// What one target gets. Nothing to be sent now or later: dropped.
struct Delivered {
  std::optional<hypervisor::DeliveryMode> mode;
  std::uint8_t vector = 0;
  std::chrono::nanoseconds delay{0};
};
struct Routing {
  hypervisor::Ipi ipi;               // For the report.
  bool as_sent = true;               // Every target gets it as sent, at once: the store may simply execute.
  std::vector<Delivered> delivered;  // Same order as ipi.targets.
  std::vector<std::optional<std::size_t>> decided_by;  // So too: the rule of the policy, which has not counted it yet.
};
// What is not an interrupt for a running kernel (startup, INIT de-assert) cannot
// be delayed or sent one by one, and is passed as sent unless it is dropped or turned into something else for all
// targets.
Routing route(const IcrCommand& command, VcpuId source, std::vector<VcpuId> targets,
              const hypervisor::IpiPolicy& policy);

// A message-signalled interrupt (SDM Vol. 3, 11.11) to one vCPU: what to write, and where.
struct Msi {
  Gpa address;
  std::uint32_t data = 0;
};
Msi msi_for(VcpuId target, hypervisor::DeliveryMode mode, std::uint8_t vector);

}  // namespace panicroom::qemu
