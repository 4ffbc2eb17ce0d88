#include "hypervisor/kvm/apic/interrupt_fabric.h"

#include <algorithm>
#include <utility>

namespace panicroom::kvm {
namespace {

using hypervisor::Clock;
using hypervisor::Ipi;

// Whether `at` lies in the page at `base`.
bool in_page(Gpa at, std::uint64_t base, std::uint32_t bytes) { return at.value >= base && at.value - base < bytes; }

bool io_apic_has(Gpa at) { return in_page(at, io_apic::kBase, io_apic::kPageBytes); }

bool apic_has(const LocalApic& apic, Gpa at) {
  return apic.mode() == LocalApic::Mode::kXapic && in_page(at, apic.base(), apic::kPageBytes);
}

}  // namespace

InterruptFabric::InterruptFabric(std::uint32_t vcpus, std::uint64_t tsc_khz) : woken_(vcpus, false) {
  apics_.reserve(vcpus);
  for (std::uint32_t i = 0; i < vcpus; ++i) apics_.emplace_back(i, i == 0, tsc_khz);
}

void InterruptFabric::reset() {
  for (LocalApic& apic : apics_) apic.reset();
  io_apic_.reset();
  due_.clear();
  woken_.assign(apics_.size(), false);
}

// --- Accesses.

bool InterruptFabric::maps(VcpuId vcpu, Gpa at) const { return apic_has(apic(vcpu), at) || io_apic_has(at); }

std::uint32_t InterruptFabric::read(VcpuId vcpu, Gpa at, Now now) {
  LocalApic& own = apic(vcpu);
  if (apic_has(own, at)) return own.read(static_cast<std::uint32_t>(at.value - own.base()), now);
  return io_apic_has(at) ? io_apic_.read(static_cast<std::uint32_t>(at.value - io_apic::kBase)) : 0xffff'ffff;
}

InterruptFabric::Written InterruptFabric::write(VcpuId vcpu, Gpa at, std::uint32_t value, const Moment& now) {
  LocalApic& own = apic(vcpu);
  if (apic_has(own, at)) {
    return settle(vcpu, own.write(static_cast<std::uint32_t>(at.value - own.base()), value, now.guest), now);
  }
  if (io_apic_has(at)) {
    if (const auto request = io_apic_.write(static_cast<std::uint32_t>(at.value - io_apic::kBase), value)) {
      deliver(*request);
    }
  }
  return {};
}

std::optional<std::uint64_t> InterruptFabric::read_msr(VcpuId vcpu, std::uint32_t msr, Now now) {
  return apic(vcpu).read_msr(msr, now);
}

InterruptFabric::Written InterruptFabric::write_msr(VcpuId vcpu, std::uint32_t msr, std::uint64_t value,
                                                    const Moment& now) {
  const auto effects = apic(vcpu).write_msr(msr, value, now.guest);
  if (!effects) return {.general_protection = true};
  return settle(vcpu, *effects, now);
}

InterruptFabric::Written InterruptFabric::settle(VcpuId source, const Effects& effects, const Moment& now) {
  Written written;
  if (effects.eoi_vector) {
    for (const auto& request : io_apic_.end_of_interrupt(*effects.eoi_vector)) deliver(request);
  }
  if (effects.icr) written.sent = send(source, *effects.icr, now);
  return written;
}

// --- Delivery.

bool InterruptFabric::deliver(VcpuId target, const Message& message) {
  const bool accepted = apic(target).accept(message);
  if (accepted) woken_[index(target)] = true;
  return accepted;
}

void InterruptFabric::deliver(const IoApic::Request& request) {
  std::vector<VcpuId> targets;
  for (std::uint32_t i = 0; i < vcpus(); ++i) {
    if (apics_[i].addressed_by(request.destination)) targets.push_back(VcpuId{i});
  }
  if (request.message.mode == DeliveryMode::kLowestPriority && !targets.empty()) targets = {arbitrate(targets)};
  bool accepted = false;
  for (const VcpuId target : targets) accepted = deliver(target, request.message) || accepted;
  if (!accepted) io_apic_.refused(request);
}

void InterruptFabric::set_pin(std::uint32_t pin, bool asserted) {
  if (const auto request = io_apic_.set_pin(pin, asserted)) deliver(*request);
}

void InterruptFabric::inject_nmi(VcpuId vcpu) {
  apic(vcpu).raise_nmi();
  woken_[index(vcpu)] = true;
}

void InterruptFabric::advance(VcpuId vcpu, Now now) {
  if (apic(vcpu).advance(now)) woken_[index(vcpu)] = true;
}

std::vector<VcpuId> InterruptFabric::take_woken() {
  std::vector<VcpuId> vcpus;
  for (std::uint32_t i = 0; i < woken_.size(); ++i) {
    if (woken_[i]) vcpus.push_back(VcpuId{i});
  }
  woken_.assign(woken_.size(), false);
  return vcpus;
}

// The processor with the lowest priority that takes interrupts, of equal ones the one with the lowest ID (SDM Vol. 3,
// 11.6.2.4). `candidates` is ascending and not empty; if none takes interrupts, the first.
VcpuId InterruptFabric::arbitrate(std::span<const VcpuId> candidates) const {
  std::optional<VcpuId> best;
  for (const VcpuId candidate : candidates) {
    if (!apic(candidate).software_enabled()) continue;
    if (!best || apic(candidate).ppr() < apic(*best).ppr()) best = candidate;
  }
  return best.value_or(candidates.front());
}

// --- IPIs.

std::vector<VcpuId> InterruptFabric::targets_of(const IcrCommand& command, VcpuId source) const {
  std::vector<VcpuId> targets;
  for (std::uint32_t i = 0; i < vcpus(); ++i) {
    const VcpuId vcpu{i};
    bool is_target = false;
    switch (command.shorthand) {
      case Shorthand::kNone:
        is_target = apics_[i].addressed_by(command.destination);
        break;
      case Shorthand::kSelf:
        is_target = vcpu == source;
        break;
      case Shorthand::kAllIncludingSelf:
        is_target = true;
        break;
      case Shorthand::kAllExcludingSelf:
        is_target = vcpu != source;
        break;
    }
    if (is_target) targets.push_back(vcpu);
  }
  return targets;
}

// What becomes of an IPI: for each target what it gets. The policy has then counted it.
std::vector<InterruptFabric::Delivery> InterruptFabric::decide(const IcrCommand& command, VcpuId source,
                                                               std::span<const VcpuId> targets) {
  const Delivery as_sent{.mode = command.mode, .vector = command.vector};
  const bool indivisible = command.mode == DeliveryMode::kStartup || command.is_init_deassert();
  std::vector<Delivery> deliveries;
  std::vector<std::optional<std::size_t>> decided_by;
  bool untouched = true;
  for (const VcpuId target : targets) {
    Delivery delivery = as_sent;
    decided_by.push_back(policy_.deciding(command.mode, command.vector, source, target));
    if (decided_by.back()) {
      const hypervisor::Delivery& rule = policy_.rule(*decided_by.back()).delivery;
      if (std::holds_alternative<hypervisor::DeliverAsNmi>(rule)) {
        delivery.mode = DeliveryMode::kNmi;
      } else if (const auto* irq = std::get_if<hypervisor::DeliverAsIrq>(&rule)) {
        delivery.mode = DeliveryMode::kFixed;
        if (command.mode == DeliveryMode::kNmi) delivery.vector = irq->nmi_becomes;
      } else if (std::holds_alternative<hypervisor::Drop>(rule)) {
        delivery.mode = std::nullopt;
      } else if (const auto* delay = std::get_if<hypervisor::Delay>(&rule)) {
        if (!indivisible) delivery.delay = delay->by;
      }
    }
    untouched = untouched && delivery.mode == command.mode && delivery.delay.count() == 0;
    deliveries.push_back(delivery);
  }
  policy_.count(decided_by);

  const auto is_as_sent = [&](const Delivery& delivery) { return delivery.mode == command.mode; };
  if (indivisible && std::ranges::any_of(deliveries, is_as_sent)) {
    std::fill(deliveries.begin(), deliveries.end(), as_sent);
  }
  if (!untouched && command.mode == DeliveryMode::kLowestPriority) {
    std::vector<VcpuId> rest;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (is_as_sent(deliveries[i])) rest.push_back(targets[i]);
    }
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (!is_as_sent(deliveries[i])) continue;
      deliveries[i].mode = targets[i] == arbitrate(rest) ? std::optional(DeliveryMode::kFixed) : std::nullopt;
    }
  }
  return deliveries;
}

std::optional<Ipi> InterruptFabric::send(VcpuId source, const IcrCommand& command, const Moment& now) {
  Ipi ipi{.source = source,
          .targets = targets_of(command, source),
          .vector = command.vector,
          .sent_as = command.mode,
          .delivered_as = {}};
  const auto deliveries = decide(command, source, ipi.targets);
  // As sent to all of them, if any has still this mode: see decide().
  std::optional<VcpuId> only;
  if (command.mode == DeliveryMode::kLowestPriority && !ipi.targets.empty()) only = arbitrate(ipi.targets);
  for (std::size_t i = 0; i < ipi.targets.size(); ++i) {
    const Delivery& delivery = deliveries[i];
    ipi.delivered_as.push_back(delivery.mode);
    if (!delivery.mode || (*delivery.mode == DeliveryMode::kInit && command.is_init_deassert())) continue;
    if (*delivery.mode == DeliveryMode::kLowestPriority && only != ipi.targets[i]) continue;
    const Message message{.mode = *delivery.mode, .vector = delivery.vector};
    if (delivery.delay.count() > 0) {
      due_.push_back({.at = now.host + delivery.delay, .target = ipi.targets[i], .message = message});
    } else {
      deliver(ipi.targets[i], message);
    }
  }
  if (watching_) return ipi;
  record_.add({.at = now.host, .ipi = std::move(ipi)});
  return std::nullopt;
}

void InterruptFabric::watch(const std::vector<hypervisor::IpiRule>& rules) {
  watching_ = true;
  policy_ = hypervisor::IpiPolicy(rules);
}

void InterruptFabric::unwatch() {
  watching_ = false;
  policy_ = {};
}

void InterruptFabric::set_rule_active(std::size_t rule, bool active) { policy_.set_active(rule, active); }

std::optional<Clock::time_point> InterruptFabric::next_due() const {
  std::optional<Clock::time_point> next;
  for (const Due& due : due_) next = std::min(next.value_or(due.at), due.at);
  return next;
}

void InterruptFabric::deliver_due(Clock::time_point now) {
  for (const Due& due : due_) {
    if (due.at <= now) deliver(due.target, due.message);
  }
  std::erase_if(due_, [&](const Due& due) { return due.at <= now; });
}

// --- Snapshots.

InterruptFabric::State InterruptFabric::state(Clock::time_point now) const {
  State state{.apics = apics_, .io_apic = io_apic_, .delayed = {}};
  for (const Due& due : due_) state.delayed.push_back({due.at - now, due.target, due.message});
  return state;
}

void InterruptFabric::set_state(const State& state, Clock::time_point now) {
  apics_ = state.apics;
  io_apic_ = state.io_apic;
  due_.clear();
  for (const Delayed& delayed : state.delayed) due_.push_back({now + delayed.by, delayed.target, delayed.message});
  woken_.assign(apics_.size(), true);
}

}  // namespace panicroom::kvm
