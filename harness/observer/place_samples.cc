#include "harness/observer/place_samples.h"

#include <fmt/format.h>

#include <string>

namespace panicroom::harness {

using hypervisor::Clock;

void PlaceSamples::take() {
  const auto begin = Clock::now();
  if (spent_ > kFree && spent_ > (begin - journal_.start()) * kShare) return;
  v1::Event event;
  for (std::uint32_t number = 0; number < machine_.vcpus(); ++number) {
    const auto registers = machine_.registers(VcpuId{number});
    if (!registers) continue;
    const bool interrupts = (registers->rflags & hypervisor::kRflagsIf) != 0;
    const std::pair now(registers->rip, interrupts);
    if (last_[number] == now) continue;
    last_[number] = now;
    auto& place = *event.mutable_places()->add_cpus();
    place.set_cpu(number);
    place.set_rip(registers->rip);
    place.set_interrupts_enabled(interrupts);
    const auto symbol = kernel_.symbolise({registers->rip});
    place.set_place(symbol.value_or(fmt::format("{:#x}", registers->rip)));
    place.set_where(symbol ? "first" : hypervisor::cpl(*registers) == 3 ? "user" : "unknown");
  }
  if (event.places().cpus_size() > 0) journal_.add(std::move(event));
  spent_ += Clock::now() - begin;
}

}  // namespace panicroom::harness
