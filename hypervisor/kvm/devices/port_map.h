// All devices behind I/O ports, and which port reaches which.
//
// A plain value: a copy is a snapshot of all devices. No clock, no lock, and no failure whatever the guest does. What
// it writes to the console and the agent port is kept until taken, so take both after each exit.
//
// What is not there reads as all ones and takes no notice of writes, PCI's configuration ports among it. There is no
// PIT: its ports read as 0, and port 0x61 shows its output as high, so that Linux' ways of calibrating by it
// (arch/x86/kernel/tsc.c, quick_pit_calibrate() and pit_calibrate_tsc()) give up at once instead of waiting for ever.
#pragma once

#include <cstdint>
#include <string>

#include "hypervisor/kvm/devices/agent_port.h"
#include "hypervisor/kvm/devices/pic.h"
#include "hypervisor/kvm/devices/power.h"
#include "hypervisor/kvm/devices/rtc.h"
#include "hypervisor/kvm/devices/uart.h"

namespace panicroom::kvm {

inline constexpr std::uint16_t kConsolePort = 0x3f8;
inline constexpr unsigned kConsoleIrq = 4;
inline constexpr std::uint16_t kAgentPort = 0x402;

class Devices {
 public:
  // One IN or OUT of `width` bytes: 1, 2 or 4. Anything else reads as all ones and writes nothing. A wide access is
  // one of each of its bytes, at one port each, but for PCI's configuration ports. `epoch_seconds` is the time of day
  // (UTC, since 1970) that the real-time clock shows. Of the result, the low `width` bytes count; the others are 0.
  std::uint32_t in(std::uint16_t port, unsigned width, std::int64_t epoch_seconds);
  void out(std::uint16_t port, unsigned width, std::uint32_t value);

  // What the guest wrote since the last call.
  std::string take_console() { return console_.take_output(); }
  std::string take_agent() { return agent_.take_output(); }

  // Stays what it is once it is not kNone.
  [[nodiscard]] PowerRequest power_request() const { return power_.request(); }

  // The levels of the ISA interrupt lines, bit n being IRQ n: the IOAPIC's inputs. All edge-triggered. To be looked at
  // after each single in() and out(), because a line may rise, fall and rise between two of them.
  [[nodiscard]] std::uint16_t irq_lines() const;

  friend bool operator==(const Devices&, const Devices&) = default;

 private:
  std::uint8_t in_byte(std::uint16_t port, std::int64_t epoch_seconds);
  void out_byte(std::uint16_t port, std::uint8_t value);

  Uart console_;
  AgentPort agent_;
  Rtc rtc_;
  Pic first_pic_;
  Pic second_pic_;
  EdgeLevelControl edge_level_;
  PowerPorts power_;
  std::uint8_t system_control_ = 0;  // Port 0x61, the bits that can be written.
};

}  // namespace panicroom::kvm
