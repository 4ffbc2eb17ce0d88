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

bool has_registers(const agent::v1::Prstatus& note) {
  const auto& registers = note.registers();
  return registers.rip() != 0 || registers.rsp() != 0;
}

CrashTruth::StoppedCpu stopped_at(const agent::v1::Prstatus& note) {
  return {note.registers().rip(), note.registers().rsp()};
}

std::string describe(const CrashTruth::StoppedCpu& cpu) { return fmt::format("rip {:#x} rsp {:#x}", cpu.rip, cpu.rsp); }

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
    const auto match = std::ranges::find_if(left, [&](const auto* note) { return stopped_at(*note) == registers; });
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
    case Message::kVmcoreOpened:
      opened_ = true;
      vmcore_bytes_ = message.vmcore_opened().size();
      break;
    case Message::kCheck:
      if (checks_.size() < kMaxRecords) checks_.push_back(message.check());
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
      break;
    default:
      break;
  }
}

DumpJudge::Finding DumpJudge::judge(const CrashTruth& truth, const DumpExpectation& expectation) const {
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
    add_check(dump, std::move(name), ok, std::move(expected), std::string(actual.value_or("absent")));
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
    const auto stopped = truth.stopped.find(cpu);
    if (stopped == truth.stopped.end() || cpu == truth.owner) continue;
    const auto actual = stopped_at(*note->second);
    const bool ok = actual == stopped->second;
    add_check(dump, fmt::format("registers of CPU {} are those of its stop", number), ok, describe(stopped->second),
              describe(actual));
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
