#include "hypervisor/kvm/apic/io_apic.h"

namespace panicroom::kvm {
namespace {

std::uint64_t mode_of(std::uint64_t entry) {
  return (entry >> io_apic::kDeliveryModeShift) & io_apic::kDeliveryModeMask;
}

// The other modes are edge-triggered whatever the entry says (data sheet, 3.2.4, "Delivery Mode").
bool is_level(std::uint64_t entry) {
  return (entry & io_apic::kTriggerLevel) != 0 &&
         mode_of(entry) <= static_cast<unsigned>(DeliveryMode::kLowestPriority);
}

// Whether the mode is one that a message can have here: not reserved, and not ExtINT, for want of an 8259A.
bool is_deliverable(std::uint64_t entry) {
  const auto mode = mode_of(entry);
  return mode != 3 && mode != 6 && mode != 7;
}

}  // namespace

void IoApic::reset() {
  select_ = 0;
  id_ = 0;
  for (Pin& pin : pins_) pin.entry = io_apic::kMasked;
}

std::uint32_t IoApic::value_of(std::uint8_t index) const {
  switch (index) {
    case io_apic::kId:
    case io_apic::kArbitration:
      return id_;
    case io_apic::kVersion:
      return io_apic::kVersionValue;
    default:
      break;
  }
  const std::uint32_t pin = (index - std::uint32_t{io_apic::kRedirection}) / 2;
  if (index < io_apic::kRedirection || pin >= io_apic::kPins) return 0;
  const std::uint64_t entry = pins_[pin].entry;
  return static_cast<std::uint32_t>(index % 2 != 0 ? entry >> 32 : entry);
}

std::uint32_t IoApic::read(std::uint32_t offset) const {
  if (offset == io_apic::kSelect) return select_;
  return offset == io_apic::kWindow ? value_of(select_) : 0;
}

std::optional<IoApic::Request> IoApic::write(std::uint32_t offset, std::uint32_t value) {
  if (offset == io_apic::kSelect) select_ = static_cast<std::uint8_t>(value);
  if (offset != io_apic::kWindow) return std::nullopt;
  if (select_ == io_apic::kId) id_ = value & io_apic::kIdWritable;
  const std::uint32_t pin = (select_ - std::uint32_t{io_apic::kRedirection}) / 2;
  if (select_ < io_apic::kRedirection || pin >= io_apic::kPins) return std::nullopt;
  return store_entry(pin, select_ % 2 != 0, value);
}

std::optional<IoApic::Request> IoApic::store_entry(std::uint32_t pin, bool high, std::uint32_t value) {
  std::uint64_t& entry = pins_[pin].entry;
  const std::uint64_t half = high ? 0xffff'ffff'0000'0000 : 0xffff'ffff;
  const std::uint64_t placed = high ? std::uint64_t{value} << 32 : value;
  const std::uint64_t writable = half & io_apic::kWritable;
  entry = (entry & ~writable) | (placed & writable);
  // How a kernel ends an interrupt by force on a version without an EOI register: edge, and level again.
  if (!is_level(entry)) entry &= ~io_apic::kRemoteIrr;
  return send_level(pin);
}

std::optional<IoApic::Request> IoApic::set_pin(std::uint32_t pin, bool asserted) {
  if (pin >= io_apic::kPins) return std::nullopt;
  const bool rises = asserted && !pins_[pin].asserted;
  pins_[pin].asserted = asserted;
  if (is_level(pins_[pin].entry)) return send_level(pin);
  return rises ? send(pin) : std::nullopt;
}

std::optional<IoApic::Request> IoApic::send(std::uint32_t pin) {
  const std::uint64_t entry = pins_[pin].entry;
  if ((entry & io_apic::kMasked) != 0 || !is_deliverable(entry)) return std::nullopt;
  Request request;
  request.pin = pin;
  request.message.mode = static_cast<DeliveryMode>(mode_of(entry));
  request.message.vector = static_cast<std::uint8_t>(entry);
  request.message.trigger = is_level(entry) ? TriggerMode::kLevel : TriggerMode::kEdge;
  request.destination =
      destination_of(static_cast<std::uint8_t>(entry >> io_apic::kDestinationShift), (entry & io_apic::kLogical) != 0);
  return request;
}

// If the pin is level-triggered, asserted, and not already waiting for an EOI.
std::optional<IoApic::Request> IoApic::send_level(std::uint32_t pin) {
  Pin& at = pins_[pin];
  if (!is_level(at.entry) || !at.asserted || (at.entry & io_apic::kRemoteIrr) != 0) return std::nullopt;
  auto request = send(pin);
  if (request) at.entry |= io_apic::kRemoteIrr;
  return request;
}

std::vector<IoApic::Request> IoApic::end_of_interrupt(std::uint8_t vector) {
  std::vector<Request> requests;
  for (std::uint32_t pin = 0; pin < io_apic::kPins; ++pin) {
    std::uint64_t& entry = pins_[pin].entry;
    if ((entry & io_apic::kRemoteIrr) == 0 || static_cast<std::uint8_t>(entry) != vector) continue;
    entry &= ~io_apic::kRemoteIrr;
    if (auto request = send_level(pin)) requests.push_back(*request);
  }
  return requests;
}

void IoApic::refused(const Request& request) {
  if (request.pin < io_apic::kPins) pins_[request.pin].entry &= ~io_apic::kRemoteIrr;
}

bool IoApic::remote_irr(std::uint32_t pin) const {
  return pin < io_apic::kPins && (pins_[pin].entry & io_apic::kRemoteIrr) != 0;
}

}  // namespace panicroom::kvm
