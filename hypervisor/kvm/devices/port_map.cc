#include "hypervisor/kvm/devices/port_map.h"

namespace panicroom::kvm {
namespace {

constexpr std::uint16_t kFirstPicCommand = 0x20;
constexpr std::uint16_t kFirstPicData = 0x21;
constexpr std::uint16_t kSecondPicCommand = 0xa0;
constexpr std::uint16_t kSecondPicData = 0xa1;
constexpr std::uint16_t kEdgeLevelFirst = 0x4d0;
constexpr std::uint16_t kEdgeLevelSecond = 0x4d1;
constexpr std::uint16_t kPit = 0x40;
constexpr std::uint16_t kPitPorts = 4;
constexpr std::uint16_t kRtcIndex = 0x70;
constexpr std::uint16_t kRtcData = 0x71;
// NMI status and control (Intel ICH9 data sheet, 13.7.1): bits 0 to 3 are written, bit 5 is the PIT's output 2, and
// bits 6 and 7 would say that hardware was the reason for an NMI.
constexpr std::uint16_t kSystemControl = 0x61;
constexpr std::uint8_t kSystemControlWritten = 0x0f;
constexpr std::uint8_t kPitOutput2 = 1U << 5;
// PCI's configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) is one register of four bytes at 0xcf8,
// which the reset control register, a byte at 0xcf9, shares its ports with.
constexpr std::uint16_t kPciAddress = 0xcf8;
constexpr std::uint16_t kPciPorts = 8;

constexpr std::uint8_t kNothing = 0xff;

bool lies_in(std::uint16_t port, std::uint16_t first, std::uint16_t count) {
  return port >= first && port - first < count;
}

bool is_width(unsigned width) { return width == 1 || width == 2 || width == 4; }

std::uint32_t all_ones(unsigned width) { return width >= 4 ? ~std::uint32_t{0} : (std::uint32_t{1} << 8 * width) - 1; }

}  // namespace

std::uint32_t Devices::in(std::uint16_t port, unsigned width, std::int64_t epoch_seconds) {
  if (!is_width(width)) return ~std::uint32_t{0};
  if (width > 1 && lies_in(port, kPciAddress, kPciPorts)) return all_ones(width);
  std::uint32_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const bool exists = port + i <= 0xffff;
    const std::uint8_t byte = exists ? in_byte(static_cast<std::uint16_t>(port + i), epoch_seconds) : kNothing;
    value |= std::uint32_t{byte} << 8 * i;
  }
  return value;
}

void Devices::out(std::uint16_t port, unsigned width, std::uint32_t value) {
  if (!is_width(width) || (width > 1 && lies_in(port, kPciAddress, kPciPorts))) return;
  for (unsigned i = 0; i < width && port + i <= 0xffff; ++i) {
    out_byte(static_cast<std::uint16_t>(port + i), static_cast<std::uint8_t>(value >> 8 * i));
  }
}

std::uint16_t Devices::irq_lines() const {
  return static_cast<std::uint16_t>(console_.interrupt() ? 1U << kConsoleIrq : 0U);
}

std::uint8_t Devices::in_byte(std::uint16_t port, std::int64_t epoch_seconds) {
  if (lies_in(port, kConsolePort, uart::kPorts)) return console_.read(static_cast<std::uint16_t>(port - kConsolePort));
  if (lies_in(port, kPm1aEventBlock, kPm1aEventBytes + kPm1aControlBytes)) {
    return power_.read_pm1a(static_cast<std::uint16_t>(port - kPm1aEventBlock));
  }
  if (lies_in(port, kPit, kPitPorts)) return 0;
  switch (port) {
    case kAgentPort:
      return AgentPort::read();
    case kRtcData:
      return rtc_.read(epoch_seconds);
    case kFirstPicCommand:
    case kFirstPicData:
      return first_pic_.read(port == kFirstPicData);
    case kSecondPicCommand:
    case kSecondPicData:
      return second_pic_.read(port == kSecondPicData);
    case kEdgeLevelFirst:
    case kEdgeLevelSecond:
      return edge_level_.read(port == kEdgeLevelSecond);
    case kSystemControl:
      return system_control_ | kPitOutput2;
    case kKeyboardData:
    case kKeyboardCommand:
      return 0;
    case kResetControl:
      return power_.read_reset_control();
    default:
      return kNothing;
  }
}

void Devices::out_byte(std::uint16_t port, std::uint8_t value) {
  if (lies_in(port, kConsolePort, uart::kPorts)) {
    return console_.write(static_cast<std::uint16_t>(port - kConsolePort), value);
  }
  if (lies_in(port, kPm1aEventBlock, kPm1aEventBytes + kPm1aControlBytes)) {
    return power_.write_pm1a(static_cast<std::uint16_t>(port - kPm1aEventBlock), value);
  }
  switch (port) {
    case kAgentPort:
      return agent_.write(value);
    case kRtcIndex:
      return rtc_.select(value);
    case kRtcData:
      return rtc_.write(value);
    case kFirstPicCommand:
    case kFirstPicData:
      return first_pic_.write(port == kFirstPicData, value);
    case kSecondPicCommand:
    case kSecondPicData:
      return second_pic_.write(port == kSecondPicData, value);
    case kEdgeLevelFirst:
    case kEdgeLevelSecond:
      return edge_level_.write(port == kEdgeLevelSecond, value);
    case kSystemControl:
      system_control_ = value & kSystemControlWritten;
      return;
    case kKeyboardCommand:
      return power_.write_keyboard_command(value);
    case kResetControl:
      return power_.write_reset_control(value);
    default:
      return;
  }
}

}  // namespace panicroom::kvm
