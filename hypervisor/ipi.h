// Inter-processor interrupts as the local APIC's interrupt command register describes them (Intel SDM Vol. 3, 11.6.1),
// and the policy that decides what becomes of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/address.h"
#include "hypervisor/registers.h"

namespace panicroom::hypervisor {

// ICR bits 8 to 10 (SDM Vol. 3, figure 11-12).
enum class DeliveryMode : std::uint8_t {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,
  kNmi = 4,
  kInit = 5,
  kStartup = 6,
};
// "fixed", "nmi" and so on: the names that reports use.
std::string_view name(DeliveryMode mode);

// Linux' REBOOT_VECTOR (arch/x86/include/asm/irq_vectors.h): the maskable interrupt by which a CPU is told to stop.
inline constexpr std::uint8_t kRebootVector = 0xf8;

struct Ipi {
  VcpuId source{};
  std::vector<VcpuId> targets;  // In ascending order; only vCPUs that exist.
  std::uint8_t vector = 0;      // Without meaning when sent as an NMI.
  DeliveryMode sent_as = DeliveryMode::kFixed;
  // As it reached each target; nothing if it was dropped. Same order as `targets`.
  std::vector<std::optional<DeliveryMode>> delivered_as;
};

// One store of a kernel's local APIC driver to the ICR's low half, which sends an IPI: xAPIC mode, memory-mapped at the
// fixmap (SDM Vol. 3, 11.4.1 and 11.6.1).
struct IcrStore {
  Gva at;               // The store instruction.
  Gpr value;            // The register whose low 32 bits it stores.
  std::uint8_t length;  // Of the instruction, in bytes.
};

// What becomes of an IPI on its way to one target.
struct DeliverAsSent {};
struct DeliverAsNmi {};
struct DeliverAsIrq {  // As a maskable interrupt: Fixed, with the IPI's own vector, or the reboot vector for an NMI.
  std::uint8_t nmi_becomes = kRebootVector;
};
struct Drop {};
struct Delay {  // Delivered as sent, this much later by the host's clock.
  std::chrono::nanoseconds by;
};
using Delivery = std::variant<DeliverAsSent, DeliverAsNmi, DeliverAsIrq, Drop, Delay>;

// Matches what all its present fields match.
struct IpiRule {
  std::optional<DeliveryMode> mode;
  std::optional<std::uint8_t> vector;
  std::optional<VcpuId> source;
  std::optional<VcpuId> target;
  Delivery delivery;
  std::optional<std::uint32_t> count = {};  // Matches only the first so many; an IPI to several targets is one.
};

}  // namespace panicroom::hypervisor
