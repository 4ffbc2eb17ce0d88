// A scenario as typed values: what a YAML file means, after every mistake in it has been reported.
// This header is the plan that the director carries out; parser.h makes it out of YAML.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/protocol/config.h"
#include "base/address.h"
#include "harness/scenario/kernel_range.h"
#include "hypervisor/ipi.h"
#include "hypervisor/machine.h"
#include "hypervisor/registers.h"
#include "kernels/points/point_spec.h"

namespace panicroom::harness {

using Nanoseconds = std::chrono::nanoseconds;

struct MachineSpec {
  std::uint32_t vcpus = 2;
  std::uint64_t memory_bytes = 512ull << 20;
  std::uint64_t crashkernel_bytes = 128ull << 20;
  std::vector<std::uint32_t> pin;  // Host CPU of each vCPU; empty if left to the host.
  // How the capture kernel is loaded; nothing if that is left to the harness.
  std::optional<agent::KexecCall> kexec = {};

  friend bool operator==(const MachineSpec&, const MachineSpec&) = default;
};

// --- Where a step happens.
// `workload`: the place that the CPU's pinned workload passes over and over.
struct AtWorkload {};
// `ipi:stop` (any IPI that stops CPUs: the reboot vector or an NMI), `ipi:nmi`, `ipi:0xf8`: this CPU has sent such an
// IPI.
struct AtIpi {
  enum class Kind { kStop, kNmi, kVector };
  Kind kind = Kind::kStop;
  std::uint8_t vector = 0;
};
// `nmi`: this CPU enters its NMI handler.
struct AtNmi {};
// A place in the kernel.
struct AtPoint {
  kernels::PointSpec spec;
};
// `at` left out: wherever the CPU is when the step before has happened.
struct Here {};
using At = std::variant<Here, AtWorkload, AtIpi, AtNmi, AtPoint>;

// --- What a step does.
struct DoPanic {
  std::string message;
};
struct DoOops {};  // The CPU jumps to address 0 in kernel mode.
struct DoNmi {};   // An external NMI to this CPU.
struct DoMce {     // This CPU's hardware reports an error.
  hypervisor::MachineCheck error;
};
struct DoSpin {                         // The CPU spins until the window ends.
  bool irqs_off = false;                // Else its interrupts stay as they are.
  std::optional<Nanoseconds> for_time;  // By the host's clock.
  std::optional<At> until;              // An event on any CPU. Neither: until the run ends.
};
struct DoHold {};  // Stays where it is until released.
struct DoRelease {};
struct SetRegister {
  hypervisor::Gpr gpr;
  std::uint64_t value;
};
struct AddToRegister {  // Modulo 2^64.
  hypervisor::Gpr gpr;
  std::uint64_t value;
};
struct SetFlag {
  std::uint64_t mask;  // One bit of RFLAGS.
  bool value;
};
struct SetMemory {
  std::variant<std::uint64_t, std::string> address;  // A guest-virtual address, or a kernel symbol.
  std::uint64_t value;
  std::uint8_t size;  // 1, 2, 4 or 8 bytes.
};
struct DoSet {
  std::vector<std::variant<SetRegister, AddToRegister, SetFlag, SetMemory>> values;
};
struct DoSkip {};  // Goes on behind the instruction without executing it.
struct DoNote {};  // Records that the CPU came by.
struct DoStep {    // Executes this many instructions, alone.
  std::uint32_t count = 1;
};
struct DoStart {  // A workload that waits on this CPU begins.
  std::string workload;
};
using Action =
    std::variant<DoPanic, DoOops, DoNmi, DoMce, DoSpin, DoHold, DoRelease, DoSet, DoSkip, DoNote, DoStep, DoStart>;

// A time that each trial draws anew, evenly between the two.
struct Wait {
  Nanoseconds least{};
  Nanoseconds most{};

  friend bool operator==(const Wait&, const Wait&) = default;
};

struct Step {
  std::uint32_t number = 0;  // From 1, as people count.
  VcpuId cpu{};
  At at;
  std::optional<Wait> after = {};  // Only where `at` is Here: so long after the step before, by the host's clock.
  Action action;
  std::uint32_t hit = 1;  // Happens at the n-th pass.
  bool alone = false;     // Until it has happened, only its CPU runs.
  int line = 0;           // In the YAML file.
  std::string text;       // The step in words: "cpu 0: panic at workload".
};

enum class Outcome { kDumped, kDumpIncomplete, kDumpInvalid, kCaptureFailed, kReset, kHung, kNoPanic };
// The grammar's word: "dumped", "dump_incomplete" and so on.
std::string_view name(Outcome outcome);
// Whether a vmcore came out.
constexpr bool has_dump(Outcome outcome) {
  return outcome == Outcome::kDumped || outcome == Outcome::kDumpIncomplete || outcome == Outcome::kDumpInvalid;
}

// `dump: {save: true}`: makedumpfile saves the dump.
struct SaveDump {
  std::uint32_t level = 31;  // makedumpfile's -d: which pages are left out, 0 (none) to 31.

  friend bool operator==(const SaveDump&, const SaveDump&) = default;
};

struct DumpExpectation {
  std::optional<std::int32_t> panic_cpu;
  std::optional<std::uint32_t> cpus_with_registers;
  std::optional<std::vector<std::uint32_t>> missing_cpus;
  std::vector<std::string> log_contains;  // Each of them.
};

// What becomes of a panic's message: a line of its own; not in one piece; not there at all.
enum class MessageState { kWhole, kGarbled, kAbsent };

std::string_view name(MessageState state);

struct MessageExpectation {
  std::optional<MessageState> console;
  std::optional<MessageState> log;
};

struct Expectation {
  Outcome outcome = Outcome::kDumped;
  DumpExpectation dump = {};
  // By CPU, the function that it is in, or that one of its callers is, when the outcome is decided: one of these,
  // because kernels name it differently.
  std::map<std::uint32_t, std::vector<std::string>> where = {};
  std::optional<std::string> because = {};  // A part of the outcome's detail.
  MessageExpectation panic_message = {};    // Of the CPU that went on in panic().
};

// Where a trial begins.
enum class From {
  kArmed,  // kdump is armed and every workload runs.
  kBoot,   // Before the machine's first instruction. KASLR is off: no address is known before that has done its work.
};

// A bug that is re-opened in a fixed kernel by overriding the instruction that decides.
enum class Unfix { kPanicGate };  // The CPU that loses the panic_cpu compare-and-exchange wins it.

// What becomes of IPIs from a moment on.
struct StopIpiRule {
  hypervisor::IpiRule rule;
  std::uint32_t after_step = 0;  // Not before this step has happened; 0: from the start.
};

// What is expected on some kernels.
struct KernelExpectation {
  KernelRange kernels;
  Expectation expectation;
};

struct Requirements {
  KernelRange kernel;
  std::vector<hypervisor::Capability> capabilities;
  std::vector<std::string> symbols;
};

struct Scenario {
  std::filesystem::path file;
  std::string name;
  std::string tier;  // Empty: the default tier.
  // Its file was named itself, and is not one of a folder's.
  bool file_named = false;
  std::string summary;
  std::vector<std::string> refs;
  MachineSpec machine;
  From from = From::kArmed;
  std::string kernel_cmdline;         // Added behind the harness's own.
  std::vector<std::string> workload;  // workload[n]: what CPU n does; "idle" where the file says nothing.
  std::vector<StopIpiRule> stop_ipi;  // First match decides.
  std::vector<Unfix> unfix;
  std::optional<SaveDump> save_dump;
  Requirements requires_;
  std::vector<Step> timeline;
  // The first for the kernel decides; each that `requires_` allows has one. Never empty.
  std::vector<KernelExpectation> expect{1};
  Nanoseconds timeout = std::chrono::seconds(60);  // Host time from the start of the trial.

  // What is expected of the kernel with this `uname -r`. The scenario is one that the parser has let pass.
  [[nodiscard]] const Expectation& expected_on(std::string_view kernel_release) const;
};

// What waits in the guest to be started: one for each `start` step, in their order.
struct StartedWorkload {
  VcpuId cpu{};
  std::string workload;

  friend bool operator==(const StartedWorkload&, const StartedWorkload&) = default;
};
std::vector<StartedWorkload> starts(const Scenario& scenario);

}  // namespace panicroom::harness
