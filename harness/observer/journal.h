// The one place that everything seen in a trial goes through. Each thing is an event, with the host's time since the
// trial's start; the report's entry is folded from the events (harness/events/fold.h), and whoever wants the stream
// gets the same ones.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "harness/events/console_lines.h"
#include "hypervisor/machine.h"
#include "panicroom/v1/events.pb.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// Who is told of what happens, in the thread in which it happens. Each may be empty.
struct JournalSinks {
  std::function<void(std::string_view name)> stage;  // Each new stage.
  std::function<void(const v1::Event&)> event;       // Every event.
};

// Refers to the run that it fills, which must outlive it. One thread.
class Journal {
 public:
  Journal(v1::Run& run, JournalSinks sinks);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // What the events have made of the report's entry so far.
  [[nodiscard]] const v1::Run& run() const { return run_; }
  [[nodiscard]] hypervisor::Clock::time_point start() const { return start_; }

  // Stamps the event with its number and the time, and takes it in.
  void add(v1::Event event);

  // A stage is written once for each CPU; later calls for the same do nothing and return false.
  bool stage(std::string_view name, std::optional<VcpuId> cpu = std::nullopt, std::string_view note = {});
  // The kernel stops that CPU, because of the last IPI of that kind that was seen to reach it. Once for each, as
  // stage().
  void stopped(VcpuId cpu, v1::Stopped::How how);
  void injected(VcpuId cpu, v1::Injected::What what, std::string_view text = {});
  void held(VcpuId cpu, bool held);
  void ipi(const hypervisor::Ipi& ipi);
  // Those that nobody watched: the first kMaxUnwatchedIpis of a trial, so that they take no room from what is watched.
  // The rest is counted, and told with the outcome.
  static constexpr std::uint32_t kMaxUnwatchedIpis = 5'000;
  void unwatched_ipis(const hypervisor::UnwatchedIpis& ipis);
  // Lines, as they become complete.
  void console(std::string_view bytes) { console_lines_.feed(bytes); }
  void agent(std::string_view text);
  void outcome(v1::Outcome outcome, std::string detail);
  // The last event: what the run's verdict is. Fills nothing.
  void verdict();

  // The CPU that sent the last IPI that has reached `target` as an NMI, or as the reboot vector's interrupt.
  [[nodiscard]] std::optional<std::uint32_t> last_sender(VcpuId target, bool nmi) const;

 private:
  v1::Run& run_;
  hypervisor::Clock::time_point start_;
  JournalSinks sinks_;
  ConsoleLines console_lines_;
  std::uint32_t last_sequence_ = 0;
  std::uint32_t unwatched_ipis_ = 0;
  std::uint64_t ipis_left_out_ = 0;
};

// An event on that vCPU.
v1::Event event_on(VcpuId cpu);

}  // namespace panicroom::harness
