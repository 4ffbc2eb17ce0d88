#include "harness/observer/dump_judge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "harness/observer/log_check.h"
#include "harness/observer/memory_check.h"
#include "harness/observer/register_check.h"

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

// The checks' names are few and their texts are short, unless somebody hostile writes them.
constexpr std::size_t kMaxChecks = 64;
constexpr std::size_t kMaxCheckText = 4096;

agent::v1::Check shortened(agent::v1::Check check) {
  for (std::string* text : {check.mutable_name(), check.mutable_expected(), check.mutable_actual()}) {
    if (text->size() > kMaxCheckText) text->resize(kMaxCheckText);
  }
  return check;
}

agent::v1::Sample shortened(agent::v1::Sample sample) {
  if (sample.unreadable().size() > kMaxCheckText) sample.mutable_unreadable()->resize(kMaxCheckText);
  constexpr auto kMostBlocks = static_cast<int>(vmcore::kPageBytes / vmcore::kBlockBytes);
  if (sample.blocks_size() > kMostBlocks) sample.mutable_blocks()->Truncate(kMostBlocks);
  return sample;
}

}  // namespace

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
    case Message::kLoad:
      if (loads_.size() < kMaxRecords) loads_.push_back(message.load());
      break;
    case Message::kSamples:
      for (const auto& sample : message.samples().samples()) {
        if (samples_.size() < kMaxSamples) samples_.push_back(shortened(sample));
      }
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
  if (loads_.size() != totals_.loads() || samples_.size() != totals_.samples()) {
    return host_error("the agent counted {} PT_LOADs and {} samples of memory, but {} and {} arrived", totals_.loads(),
                      totals_.samples(), loads_.size(), samples_.size());
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
  must_be("OSRELEASE", truth.kernel_release, vmcoreinfo_value(vmcoreinfo_, "OSRELEASE"));
  must_be("KERNELOFFSET", fmt::format("{:x}", truth.slide.bytes), vmcoreinfo_value(vmcoreinfo_, "KERNELOFFSET"));
  if (truth.phys_base) {
    must_be("phys_base", fmt::format("{}", *truth.phys_base), vmcoreinfo_value(vmcoreinfo_, "NUMBER(phys_base)"));
  }

  // The CPUs.
  std::vector<std::string> incomplete;
  for (const RegisterFinding& cpu : check_registers(prstatus_, truth)) {
    if (cpu.state == RegisterState::kMissing) {
      dump.add_missing_cpus(index(cpu.cpu));
    } else {
      dump.set_cpus_with_registers(dump.cpus_with_registers() + 1);
    }
    add_check(dump, fmt::format("registers of CPU {}", cpu.cpu), cpu.state == RegisterState::kTrue, cpu.expected,
              cpu.actual);
    if (!cpu.trouble.empty()) incomplete.push_back(cpu.trouble);
  }

  // Why and where it died.
  const auto crash = find_crash_in_log(dead_log_, truth.message);
  if (!crash) invalid.emplace_back("panic message");
  add_check(
      dump, "panic message", crash.has_value(),
      truth.message ? fmt::format("\"{}\"{}", truth.message->text, truth.message->whole ? "" : " and more") : "an oops",
      crash && !truth.message ? "an oops" : panics_in_log(dead_log_));
  dump.set_panic_cpu(crash ? cpu_named_behind(dead_log_, *crash) : panic_cpu_in_log(dead_log_));
  if (truth.owner && dump.panic_cpu() >= 0) {
    const auto owner = static_cast<std::int32_t>(index(*truth.owner));
    if (owner != dump.panic_cpu()) invalid.emplace_back("crashing CPU");
    add_check(dump, "crashing CPU", owner == dump.panic_cpu(), fmt::format("{}", owner),
              fmt::format("{}", dump.panic_cpu()));
  }

  // The memory.
  auto memory = check_samples(samples_, truth, incomplete.empty());
  if (auto map = check_memory_map(loads_, truth)) memory.push_back(*std::move(map));
  for (MemoryFinding& finding_of : memory) {
    if (!finding_of.ok) invalid.push_back(finding_of.name);
    add_check(dump, std::move(finding_of.name), finding_of.ok, std::move(finding_of.expected),
              std::move(finding_of.actual));
  }

  for (const std::string& text : expectation.log_contains) {
    if (dead_log_.find(text) == std::string::npos) dump.add_log_missing(text);
  }
  dump.set_log_matched(dump.log_missing().empty());
  if (!invalid.empty()) {
    finding.outcome = Outcome::kDumpInvalid;
    finding.detail = fmt::format("the vmcore is no true dump of the kernel that crashed: {}", fmt::join(invalid, ", "));
    if (!incomplete.empty()) finding.detail += fmt::format("; {}", fmt::join(incomplete, "; "));
  } else if (!incomplete.empty()) {
    finding.outcome = Outcome::kDumpIncomplete;
    finding.detail = fmt::format("{}", fmt::join(incomplete, "; "));
  } else {
    finding.outcome = Outcome::kDumped;
  }
  return finding;
}

}  // namespace panicroom::harness
