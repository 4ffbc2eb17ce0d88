// Writes down what happens in a trial, with the host's time since the trial's start.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "hypervisor/machine.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// Refers to the run that it fills, which must outlive it. One thread.
class Journal {
 public:
  // `on_stage` is told of each new stage; may be empty.
  Journal(v1::Run& run, std::function<void(std::string_view)> on_stage)
      : run_(run), start_(hypervisor::Clock::now()), on_stage_(std::move(on_stage)) {}

  [[nodiscard]] v1::Run& run() { return run_; }
  [[nodiscard]] hypervisor::Clock::time_point start() const { return start_; }

  // A stage is written once for each CPU; later calls for the same do nothing and return false.
  bool stage(std::string_view name, std::optional<VcpuId> cpu = std::nullopt, std::string_view note = {});
  void ipi(const hypervisor::Ipi& ipi);
  // "sent by CPU 1": the last IPI that has reached `target` as an NMI, or as the reboot vector's interrupt; empty if
  // none was seen.
  [[nodiscard]] std::string last_sender(VcpuId target, bool nmi) const;
  // Sets `to` to the time since the start.
  void stamp(google::protobuf::Duration& to) const;

 private:
  v1::Run& run_;
  hypervisor::Clock::time_point start_;
  std::function<void(std::string_view)> on_stage_;
};

}  // namespace panicroom::harness
