// The IOAPIC: Intel's data sheet 82093AA. 24 pins at which devices ask for interrupts, each with an entry of the
// redirection table that says what message to send for it.
//
// A plain copyable value without clock, locks or callbacks: what it wants sent, it returns. Reading or writing what is
// not there gives 0 and has no effect.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "hypervisor/kvm/apic/interrupt_message.h"
#include "hypervisor/kvm/apic/io_apic_registers.h"

namespace panicroom::kvm {

class IoApic {
 public:
  struct Request {
    std::uint32_t pin = 0;
    Message message;
    Destination destination;
    friend bool operator==(const Request&, const Request&) = default;
  };

  IoApic() { reset(); }
  // Power-up: every pin masked. How the pins' wires stand is the devices' affair, and stays.
  void reset();

  // 32-bit accesses, by offset from its base. Unmasking a level-triggered pin that is asserted sends.
  [[nodiscard]] std::uint32_t read(std::uint32_t offset) const;
  std::optional<Request> write(std::uint32_t offset, std::uint32_t value);

  // A device asserts its pin or takes that back, whichever voltage that is: the entry's polarity is only remembered. An
  // edge at a masked pin is lost, a level not. No such pin: nothing.
  std::optional<Request> set_pin(std::uint32_t pin, bool asserted);
  // A local APIC has ended a level-triggered interrupt with this vector: pins that are still asserted send again.
  std::vector<Request> end_of_interrupt(std::uint8_t vector);
  // No local APIC took the request: the pin waits for no EOI. It asks again when it is next touched.
  void refused(const Request& request);

  [[nodiscard]] bool remote_irr(std::uint32_t pin) const;

  friend bool operator==(const IoApic&, const IoApic&) = default;

 private:
  struct Pin {
    std::uint64_t entry = io_apic::kMasked;
    bool asserted = false;
    friend bool operator==(const Pin&, const Pin&) = default;
  };
  [[nodiscard]] std::uint32_t value_of(std::uint8_t index) const;
  std::optional<Request> store_entry(std::uint32_t pin, bool high, std::uint32_t value);
  std::optional<Request> send(std::uint32_t pin);
  std::optional<Request> send_level(std::uint32_t pin);

  std::uint8_t select_ = 0;
  std::uint32_t id_ = 0;
  std::array<Pin, io_apic::kPins> pins_{};
};

}  // namespace panicroom::kvm
