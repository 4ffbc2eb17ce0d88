#include "hypervisor/kvm/devices/uart.h"

#include <algorithm>
#include <utility>

namespace panicroom::kvm {

using namespace uart;  // NOLINT(google-build-using-namespace): the registers of this file's one device.

std::uint8_t Uart::read(std::uint16_t offset) {
  switch (offset) {
    case kData:
      return divisor_latch() ? divisor_low_ : take_received();
    case kInterruptEnable:
      return divisor_latch() ? divisor_high_ : interrupt_enable_;
    case kInterruptIdentify: {
      const std::uint8_t id = pending();
      // 8.6: to read IIR takes back this interrupt, if it is the one that is shown.
      if (id == kIirTransmitEmpty) transmit_empty_pending_ = false;
      return (fifo_control_ & kFcrEnable) != 0 ? id | kIirFifosEnabled : id;
    }
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus: {
      std::uint8_t status = kLsrHoldingEmpty | kLsrTransmitterEmpty;
      if (received_count_ > 0) status |= kLsrDataReady;
      if (std::exchange(overrun_, false)) status |= kLsrOverrun;
      return status;
    }
    case kModemStatus:
      return modem_lines() | std::exchange(modem_changes_, std::uint8_t{0});
    case kScratch:
      return scratch_;
    default:
      return 0xff;
  }
}

void Uart::write(std::uint16_t offset, std::uint8_t value) {
  switch (offset) {
    case kData:
      if (divisor_latch()) {
        divisor_low_ = value;
      } else {
        transmit(value);
      }
      break;
    case kInterruptEnable:
      if (divisor_latch()) {
        divisor_high_ = value;
        break;
      }
      // To be enabled while there is nothing to transmit is an interrupt. Linux' serial8250_do_startup() asks for it.
      if ((interrupt_enable_ & kIerTransmitEmpty) == 0 && (value & kIerTransmitEmpty) != 0) {
        transmit_empty_pending_ = true;
      }
      interrupt_enable_ = value & kIerMask;
      break;
    case kFifoControl:
      set_fifo_control(value);
      break;
    case kLineControl:
      line_control_ = value;
      break;
    case kModemControl:
      set_modem_control(value & kMcrMask);
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:  // LSR and MSR are not for writing.
      break;
  }
}

bool Uart::interrupt() const {
  // In loopback mode the modem control pins are inactive (8.8), OUT2 among them, so nothing passes the PC's gate.
  return (modem_control_ & kMcrOut2) != 0 && !loop() && pending() != kIirNone;
}

std::string Uart::take_output() { return std::exchange(output_, {}); }

std::uint8_t Uart::pending() const {
  if (overrun_ && (interrupt_enable_ & kIerLineStatus) != 0) return kIirLineStatus;
  if (received_count_ > 0 && (interrupt_enable_ & kIerReceived) != 0) {
    // Below the trigger level, the timeout; there is no clock, so it has always passed.
    return received_count_ >= receive_trigger() ? kIirReceived : kIirTimeout;
  }
  if (transmit_empty_pending_ && (interrupt_enable_ & kIerTransmitEmpty) != 0) return kIirTransmitEmpty;
  if (modem_changes_ != 0 && (interrupt_enable_ & kIerModemStatus) != 0) return kIirModemStatus;
  return kIirNone;
}

// A cable with a terminal that is always ready; or the outputs, looped back (8.8).
std::uint8_t Uart::modem_lines() const {
  if (!loop()) return kMsrCts | kMsrDsr | kMsrDcd;
  std::uint8_t lines = 0;
  if ((modem_control_ & kMcrRts) != 0) lines |= kMsrCts;
  if ((modem_control_ & kMcrDtr) != 0) lines |= kMsrDsr;
  if ((modem_control_ & kMcrOut1) != 0) lines |= kMsrRi;
  if ((modem_control_ & kMcrOut2) != 0) lines |= kMsrDcd;
  return lines;
}

void Uart::set_modem_control(std::uint8_t value) {
  const std::uint8_t before = modem_lines();
  modem_control_ = value;
  const std::uint8_t after = modem_lines();
  const int changed = before ^ after;
  if ((changed & kMsrCts) != 0) modem_changes_ |= kMsrDeltaCts;
  if ((changed & kMsrDsr) != 0) modem_changes_ |= kMsrDeltaDsr;
  if ((changed & kMsrRi) != 0 && (before & kMsrRi) != 0) modem_changes_ |= kMsrTrailingRi;
  if ((changed & kMsrDcd) != 0) modem_changes_ |= kMsrDeltaDcd;
}

std::size_t Uart::receive_capacity() const { return (fifo_control_ & kFcrEnable) != 0 ? kFifoBytes : 1; }

std::size_t Uart::receive_trigger() const {
  if ((fifo_control_ & kFcrEnable) == 0) return 1;
  static constexpr std::array<std::size_t, 4> kTriggers = {1, 4, 8, 14};  // FCR bits 6 and 7 (8.5).
  return kTriggers[fifo_control_ >> 6];
}

void Uart::set_fifo_control(std::uint8_t value) {
  // Turning the FIFOs on or off empties them, and without the enable bit no other is written (8.5).
  const bool toggled = ((fifo_control_ ^ value) & kFcrEnable) != 0;
  if (toggled || ((value & kFcrEnable) != 0 && (value & kFcrClearReceive) != 0)) received_count_ = 0;
  fifo_control_ = (value & kFcrEnable) != 0 ? value & 0xc9 : 0;
}

void Uart::transmit(std::uint8_t byte) {
  if (loop()) {
    receive(byte);
  } else {
    output_.push_back(static_cast<char>(byte));
  }
  // It has left at once, and the next may come.
  transmit_empty_pending_ = true;
}

void Uart::receive(std::uint8_t byte) {
  if (received_count_ < receive_capacity()) {
    received_[received_count_++] = byte;
    return;
  }
  overrun_ = true;
  // Without FIFOs the newer byte replaces the older one; with them it is lost in the shift register (8.4).
  if (receive_capacity() == 1) received_[0] = byte;
}

std::uint8_t Uart::take_received() {
  if (received_count_ == 0) return 0;
  const std::uint8_t byte = received_[0];
  std::copy(received_.begin() + 1, received_.end(), received_.begin());
  --received_count_;
  return byte;
}

}  // namespace panicroom::kvm
