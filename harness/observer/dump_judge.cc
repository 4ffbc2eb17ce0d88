#include "harness/observer/dump_judge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

namespace panicroom::harness {
namespace {

using agent::v1::Message;

// The value of "KEY=value" in VMCOREINFO's text.
std::optional<std::string_view> vmcoreinfo_value(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == '=')
      return line.substr(key.size() + 1);
  }
  return std::nullopt;
}

void add_check(v1::Dump& dump, std::string name, bool ok, std::string expected, std::string actual) {
  auto& check = *dump.add_checks();
  check.set_name(std::move(name));
  check.set_ok(ok);
  check.set_expected(std::move(expected));
  check.set_actual(std::move(actual));
}

// The registers of a note that the hypervisor knows too.
hypervisor::Registers registers_of(const agent::v1::Prstatus& note) {
  const auto& from = note.registers();
  return {.rax = from.rax(),
          .rbx = from.rbx(),
          .rcx = from.rcx(),
          .rdx = from.rdx(),
          .rsi = from.rsi(),
          .rdi = from.rdi(),
          .rbp = from.rbp(),
          .rsp = from.rsp(),
          .r8 = from.r8(),
          .r9 = from.r9(),
          .r10 = from.r10(),
          .r11 = from.r11(),
          .r12 = from.r12(),
          .r13 = from.r13(),
          .r14 = from.r14(),
          .r15 = from.r15(),
          .rip = from.rip(),
          .rflags = from.rflags()};
}

bool has_registers(const agent::v1::Prstatus& note) { return registers_of(note) != hypervisor::Registers{}; }

// The registers in which the two differ, with the values of the first; RIP and RSP in any case.
std::string describe(const hypervisor::Registers& registers, const hypervisor::Registers& other) {
  std::string text = fmt::format("rip {:#x} rsp {:#x}", registers.rip, registers.rsp);
  for (std::size_t number = 0; number < hypervisor::kGprCount; ++number) {
    const auto gpr = static_cast<hypervisor::Gpr>(number);
    if (gpr == hypervisor::Gpr::kRsp || get(registers, gpr) == get(other, gpr)) continue;
    text += fmt::format(" {} {:#x}", name(gpr), get(registers, gpr));
  }
  if (registers.rflags != other.rflags) text += fmt::format(" rflags {:#x}", registers.rflags);
  return text;
}

// Which note is which CPU's. Where no note is missing, the kernel writes them in the order of CPU numbers; where one
// is, the number is lost, and only the registers tell: those that the hypervisor saw at the stop.
std::map<VcpuId, const agent::v1::Prstatus*> assign(const std::vector<agent::v1::Prstatus>& notes,
                                                    const CrashTruth& truth) {
  std::map<VcpuId, const agent::v1::Prstatus*> result;
  std::vector<const agent::v1::Prstatus*> left;
  for (const auto& note : notes) left.push_back(&note);
  if (notes.size() == truth.vcpus) {
    for (std::uint32_t cpu = 0; cpu < truth.vcpus; ++cpu) result[VcpuId{cpu}] = left[cpu];
    std::erase_if(result, [](const auto& entry) { return !has_registers(*entry.second); });
    return result;
  }
  std::erase_if(left, [](const auto* note) { return !has_registers(*note); });
  for (const auto& [cpu, registers] : truth.stopped) {
    if (cpu == truth.owner) continue;
    const auto match = std::ranges::find(left, registers, [](const auto* note) { return registers_of(*note); });
    if (match == left.end()) continue;
    result[cpu] = *match;
    left.erase(match);
  }
  // The CPU that jumped has always saved its own registers, and nobody stopped it.
  if (truth.owner && !result.contains(*truth.owner) && !left.empty()) {
    result[*truth.owner] = left.front();
    left.erase(left.begin());
  }
  // A note that fits nobody is somebody's whose stop was seen, with registers that are not true.
  for (const auto& [cpu, registers] : truth.stopped) {
    if (left.empty()) break;
    if (result.contains(cpu)) continue;
    result[cpu] = left.front();
    left.erase(left.begin());
  }
  return result;
}

// The checks' names are few and their texts are short, unless somebody hostile writes them.
constexpr std::size_t kMaxChecks = 64;
constexpr std::size_t kMaxCheckText = 4096;

agent::v1::Check shortened(agent::v1::Check check) {
  for (std::string* text : {check.mutable_name(), check.mutable_expected(), check.mutable_actual()}) {
    if (text->size() > kMaxCheckText) text->resize(kMaxCheckText);
  }
  return check;
}

// Digits at the start of the text.
std::optional<std::int32_t> leading_number(std::string_view text) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value < 0) return std::nullopt;
  return value;
}

}  // namespace

std::int32_t panic_cpu_in_log(std::string_view log) {
  std::size_t begin = std::string_view::npos;
  for (const std::string_view banner : {"Kernel panic - not syncing", "BUG: ", "Oops: ", "kernel BUG at "}) {
    begin = std::min(begin, log.find(banner));
  }
  constexpr std::string_view kCpu = "CPU: ";
  while (begin != std::string_view::npos) {
    const auto at = log.find(kCpu, begin);
    if (at == std::string_view::npos) return -1;
    if (const auto number = leading_number(log.substr(at + kCpu.size()))) return *number;
    begin = at + kCpu.size();
  }
  return -1;
}

void DumpJudge::take(const Message& message) {
  switch (message.kind_case()) {
    case Message::kHello:
      if (message.hello().mode() == agent::v1::MODE_CAPTURE) agent_runs_ = true;
      break;
    case Message::kVmcoreOpened:
      opened_ = true;
      vmcore_bytes_ = message.vmcore_opened().size();
      break;
    case Message::kCheck:
      if (checks_.size() < kMaxChecks) checks_.push_back(shortened(message.check()));
      break;
    case Message::kPrstatus:
      if (prstatus_.size() < kMaxRecords) prstatus_.push_back(message.prstatus());
      break;
    case Message::kVmcoreinfo:
      if (vmcoreinfo_.size() < kMaxEvidence) vmcoreinfo_ += message.vmcoreinfo().text();
      break;
    case Message::kDeadLog:
      if (dead_log_.size() < kMaxEvidence) dead_log_ += message.dead_log().text();
      break;
    case Message::kJudged:
      finished_ = true;
      totals_ = message.judged();
      break;
    default:
      break;
  }
}

void DumpJudge::take(const agent::ProtocolError&) {
  if (agent_runs_) ++stream_errors_;
}

Result<> DumpJudge::check_stream() const {
  if (stream_errors_ > 0) return host_error("the agent's stream was damaged {} times after it began", stream_errors_);
  const auto passed =
      static_cast<std::size_t>(std::ranges::count_if(checks_, [](const auto& check) { return check.ok(); }));
  const auto with_registers = static_cast<std::size_t>(std::ranges::count_if(prstatus_, has_registers));
  if (passed != totals_.checks_passed() || checks_.size() - passed != totals_.checks_failed() ||
      with_registers != totals_.cpus_with_registers()) {
    return host_error(
        "the agent counted {} checks passed, {} failed and {} CPUs with registers, but {}, {} and {} arrived",
        totals_.checks_passed(), totals_.checks_failed(), totals_.cpus_with_registers(), passed,
        checks_.size() - passed, with_registers);
  }
  if (checks_.empty()) return host_error("the agent checked nothing");
  return {};
}

Result<DumpJudge::Finding> DumpJudge::judge(const CrashTruth& truth, const DumpExpectation& expectation) const {
  TRY(check_stream());
  Finding finding;
  v1::Dump& dump = finding.dump;
  dump.set_bytes(vmcore_bytes_);

  // The file itself: what the agent found, but for the CPUs, which are counted below.
  std::vector<std::string> invalid;
  for (const auto& check : checks_) {
    add_check(dump, check.name(), check.ok(), check.expected(), check.actual());
    if (!check.ok() && !check.name().starts_with("prstatus")) invalid.push_back(check.name());
  }
  const auto must_be = [&](std::string name, std::string expected, std::optional<std::string_view> actual) {
    const bool ok = actual && *actual == expected;
    if (!ok) invalid.push_back(name);
    add_check(dump, std::move(name), ok, std::move(expected),
              std::string(actual.value_or("absent").substr(0, kMaxCheckText)));
  };
  must_be("vmcoreinfo OSRELEASE is the crashed kernel's", truth.kernel_release,
          vmcoreinfo_value(vmcoreinfo_, "OSRELEASE"));
  must_be("vmcoreinfo KERNELOFFSET is the KASLR slide", fmt::format("{:x}", truth.slide.bytes),
          vmcoreinfo_value(vmcoreinfo_, "KERNELOFFSET"));

  // The CPUs.
  std::vector<std::string> incomplete;
  const auto notes = assign(prstatus_, truth);
  dump.set_cpus_with_registers(static_cast<std::uint32_t>(notes.size()));
  for (std::uint32_t number = 0; number < truth.vcpus; ++number) {
    const VcpuId cpu{number};
    const auto note = notes.find(cpu);
    if (note == notes.end()) {
      dump.add_missing_cpus(number);
      incomplete.push_back(fmt::format("CPU {} has no registers in the dump", number));
      continue;
    }
    if (cpu == truth.owner) continue;
    const auto stopped = truth.stopped.find(cpu);
    if (stopped == truth.stopped.end()) {
      incomplete.push_back(fmt::format("CPU {} has registers in the dump, but was never seen to be stopped", number));
      continue;
    }
    const auto actual = registers_of(*note->second);
    const bool ok = actual == stopped->second;
    add_check(dump, fmt::format("registers of CPU {} are those of its stop", number), ok,
              describe(stopped->second, actual), describe(actual, stopped->second));
    if (!ok) incomplete.push_back(fmt::format("the registers of CPU {} are not true", number));
  }

  dump.set_panic_cpu(panic_cpu_in_log(dead_log_));
  dump.set_log_matched(!expectation.log_contains || dead_log_.find(*expectation.log_contains) != std::string::npos);
  if (!invalid.empty()) {
    finding.outcome = Outcome::kDumpInvalid;
    finding.detail = fmt::format("the vmcore is no dump of the kernel that crashed: {}", fmt::join(invalid, ", "));
  } else if (!incomplete.empty()) {
    finding.outcome = Outcome::kDumpIncomplete;
    finding.detail = fmt::format("{}", fmt::join(incomplete, "; "));
  } else {
    finding.outcome = Outcome::kDumped;
  }
  return finding;
}

}  // namespace panicroom::harness
