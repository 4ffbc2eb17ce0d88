// The console: a 16550A UART whose transmitter is always done at once. Nothing is connected that sends, so it receives
// only what it transmits itself, in loopback mode.
//
// A plain value: a copy is a snapshot. No clock, no lock. Whatever the guest writes, it stays in bounds; but what the
// guest transmits is kept until take_output(), so take it after each access.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "hypervisor/kvm/devices/uart_registers.h"

namespace panicroom::kvm {

class Uart {
 public:
  // `offset` is from the base port; what is beyond its 8 ports reads as all ones and is not written. Reading IIR, LSR,
  // MSR and received data changes the UART's state.
  std::uint8_t read(std::uint16_t offset);
  void write(std::uint16_t offset, std::uint8_t value);

  // The level of its interrupt line, OUT2's gate included. To be looked at after each access: an edge between two of
  // them is what an edge-triggered IOAPIC pin has to see.
  [[nodiscard]] bool interrupt() const;

  // What was transmitted since the last call.
  std::string take_output();

  friend bool operator==(const Uart&, const Uart&) = default;

 private:
  // IIR without the FIFO bits: the most urgent of the interrupts that are enabled.
  [[nodiscard]] std::uint8_t pending() const;
  [[nodiscard]] std::uint8_t modem_lines() const;
  [[nodiscard]] bool divisor_latch() const { return (line_control_ & uart::kLcrDivisorLatch) != 0; }
  [[nodiscard]] bool loop() const { return (modem_control_ & uart::kMcrLoop) != 0; }
  [[nodiscard]] std::size_t receive_capacity() const;
  [[nodiscard]] std::size_t receive_trigger() const;
  void transmit(std::uint8_t byte);
  void receive(std::uint8_t byte);
  std::uint8_t take_received();
  void set_modem_control(std::uint8_t value);
  void set_fifo_control(std::uint8_t value);

  static constexpr std::size_t kFifoBytes = 16;
  std::uint8_t interrupt_enable_ = 0;
  std::uint8_t fifo_control_ = 0;
  std::uint8_t line_control_ = 0;
  std::uint8_t modem_control_ = 0;
  std::uint8_t modem_changes_ = 0;  // The low half of MSR.
  std::uint8_t scratch_ = 0;
  std::uint8_t divisor_low_ = 0;
  std::uint8_t divisor_high_ = 0;
  bool transmit_empty_pending_ = false;
  bool overrun_ = false;
  std::array<std::uint8_t, kFifoBytes> received_{};  // The first `received_count_` of it, oldest first.
  std::size_t received_count_ = 0;
  std::string output_;
};

}  // namespace panicroom::kvm
