#include "harness/observer/memory_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "agent/protocol/sample_plan.h"

namespace panicroom::harness {
namespace {

using vmcore::Sample;
using vmcore::SampleKind;

using Key = std::pair<SampleKind, std::uint64_t>;

// What is wrong with one sample; empty if nothing is.
std::string difference(const Sample& expected, const Sample* actual) {
  if (actual == nullptr) return fmt::format("{:#x} is not in the dump", expected.address);
  if (!actual->unreadable.empty()) return fmt::format("{:#x}: {}", expected.address, actual->unreadable);
  if (actual->bytes != expected.bytes) {
    return fmt::format("{:#x} has {} bytes, not {}", expected.address, actual->bytes, expected.bytes);
  }
  for (std::size_t block = 0; block < expected.blocks.size() && block < actual->blocks.size(); ++block) {
    if (expected.blocks[block] == actual->blocks[block]) continue;
    const std::uint64_t begin = block * vmcore::kBlockBytes;
    return fmt::format("{:#x}+{:#x} to {:#x} differs: CRC-32 {:08x}, not {:08x}", expected.address, begin,
                       std::min<std::uint64_t>(begin + vmcore::kBlockBytes, expected.bytes), actual->blocks[block],
                       expected.blocks[block]);
  }
  return {};
}

// How the samples of one kind came out.
struct Tally {
  std::size_t compared = 0;
  std::size_t equal = 0;
  std::size_t excused = 0;
  std::string first_wrong;
};

std::string numbers(const std::vector<VcpuId>& cpus) { return fmt::format("CPU {}", fmt::join(cpus, ", ")); }

}  // namespace

std::optional<MemoryFinding> check_memory_map(const std::vector<agent::v1::Load>& loads, const CrashTruth& truth) {
  if (truth.ram.empty()) return std::nullopt;
  std::vector<MemoryRange> dumped;
  for (const auto& load : loads) {
    const std::uint64_t begin = load.physical_address();
    dumped.push_back({{begin}, {begin + std::min(load.bytes(), ~begin)}});
  }
  std::ranges::sort(dumped, {}, &MemoryRange::begin);
  std::uint64_t total = 0;
  std::uint64_t missing = 0;
  std::string first;
  for (const MemoryRange& range : truth.ram) {
    total += range.end - range.begin;
    Gpa at = range.begin;
    const auto gap_until = [&](Gpa end) {
      if (end <= at) return;
      if (missing == 0) first = fmt::format("{:#x} to {:#x}", at.value, end.value);
      missing += end - at;
    };
    for (const MemoryRange& part : dumped) {
      if (part.end <= at || part.begin >= range.end) continue;
      gap_until(std::min(part.begin, range.end));
      at = std::max(at, std::min(part.end, range.end));
    }
    gap_until(range.end);
  }
  return MemoryFinding{.name = "memory map",
                       .ok = missing == 0,
                       .expected = fmt::format("{} bytes of usable memory without the crash kernel's", total),
                       .actual = missing == 0 ? fmt::format("all of them, in {} PT_LOAD", loads.size())
                                              : fmt::format("{} bytes are in no PT_LOAD, from {}", missing, first)};
}

std::vector<MemoryFinding> check_samples(const std::vector<agent::v1::Sample>& samples, const CrashTruth& truth,
                                         bool registers_true) {
  std::map<Key, Sample> sent;
  for (const auto& message : samples) {
    auto sample = agent::from_message(message);
    if (!sample) continue;
    const Key key{sample->kind, sample->address};
    sent.emplace(key, *std::move(sample));
  }
  const auto running = truth.not_stopped();
  std::map<SampleKind, Tally> tallies;
  for (const SampleTruth& known : truth.samples) {
    const auto found = sent.find({known.sample.kind, known.sample.address});
    const Sample* actual = found == sent.end() ? nullptr : &found->second;
    if (!known.must_be_there && (actual == nullptr || !actual->unreadable.empty())) continue;
    const bool by_registers = known.sample.kind == SampleKind::kStack || known.sample.kind == SampleKind::kPageTable;
    if (by_registers && actual == nullptr && !registers_true) continue;
    Tally& tally = tallies[known.sample.kind];
    ++tally.compared;
    const std::string wrong = difference(known.sample, actual);
    if (wrong.empty()) {
      ++tally.equal;
    } else if (!running.empty() && !known.constant && actual != nullptr && actual->unreadable.empty()) {
      ++tally.excused;
    } else if (tally.first_wrong.empty()) {
      tally.first_wrong = wrong;
    }
  }
  std::vector<MemoryFinding> findings;
  for (const auto& [kind, tally] : tallies) {
    MemoryFinding finding;
    finding.name = fmt::format("memory: {}", name(kind));
    finding.ok = tally.equal + tally.excused == tally.compared;
    finding.expected = fmt::format("{} samples as the machine had them at the jump", tally.compared);
    finding.actual = fmt::format("{} equal", tally.equal);
    if (tally.excused > 0) {
      finding.actual += fmt::format(", {} changed while {} still ran", tally.excused, numbers(running));
    }
    if (!tally.first_wrong.empty()) finding.actual += "; " + tally.first_wrong;
    findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace panicroom::harness
