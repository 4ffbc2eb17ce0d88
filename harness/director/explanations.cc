#include "harness/director/explanations.h"

#include <fmt/format.h>

#include "hypervisor/machine.h"

namespace panicroom::harness {

std::string cause_of_reset(const StageObserver& observer, const v1::Run& run) {
  std::string cause = ": ";
  if (const auto cpu = observer.resetter()) {
    cause += fmt::format("CPU {} began it", *cpu);
    for (const auto& place : run.places()) {
      if (place.cpu() != index(*cpu)) continue;
      cause += fmt::format(" in {}", place.place());
      if (place.backtrace_size() > 0) cause += fmt::format(", from {}", place.backtrace(0));
    }
  } else {
    cause += "no CPU was seen to ask for it, as after a triple fault";
  }
  return cause + why_not_dumped(observer);
}

std::string why_not_dumped(const StageObserver& observer) {
  if (!observer.skipped().empty()) return fmt::format("; the dump was skipped: {}", observer.skipped());
  return observer.crashing() ? "" : "; no panic was seen";
}

std::string who_is_in_an_nmi(const v1::Run& run) {
  std::string text;
  for (const auto& place : run.places()) {
    if (!place.nmis_blocked()) continue;
    text += fmt::format("; CPU {} is in an NMI handler, so that further NMIs are blocked", place.cpu());
  }
  return text;
}

}  // namespace panicroom::harness
