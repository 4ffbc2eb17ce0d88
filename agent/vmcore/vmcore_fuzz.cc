// Judges any bytes as a vmcore. The first byte chooses: the bytes as the file, or as changes to a good synthetic one
// (its headers are a wall that random bytes seldom climb).
#include <cstdint>
#include <set>

#include "agent/vmcore/judge.h"
#include "agent/vmcore/synthetic_vmcore.h"
#include "agent/vmcore/vmcoreinfo.h"
#include "base/testing/require.h"

namespace panicroom::vmcore {
namespace {

constexpr std::size_t kMaxLogBytes = 4096;

// Holds the judge to its header's word.
struct Witness : Findings {
  void load(const LoadSegment&) override { require(++loads <= kMaxLoads); }
  void sample(const Sample& sample) override {
    require(sample.blocks.empty() != sample.unreadable.empty());
    require(sample.blocks.size() <= kPageBytes / kBlockBytes);
    ++samples;
  }
  void check(const Check& check) override {
    require(names.insert(check.name).second);
    require(!check.expected.empty() && !check.actual.empty());
    ++(check.ok ? passed : failed);
  }
  void prstatus(std::size_t index, const Prstatus& status) override {
    require(index == cpus++);
    with_registers += status.has_registers() ? 1 : 0;
  }
  void vmcoreinfo(std::string_view text) override { require(text.size() <= kMaxVmcoreinfoBytes); }
  void dead_log(const PrintkLog& log) override {
    require(log.text.size() <= kMaxLogBytes);
    require(log.records <= log.text.size());
  }

  std::set<std::string_view> names;
  std::size_t passed = 0;
  std::size_t failed = 0;
  std::size_t cpus = 0;
  std::size_t with_registers = 0;
  std::size_t loads = 0;
  std::size_t samples = 0;
};

void judge_bytes(Bytes file) {
  const BufferReader reader(file);
  Witness witness;
  const JudgeOptions options{.expected_cpus = 2,
                             .max_log_bytes = kMaxLogBytes,
                             .samples = SyntheticVmcore::sample_plan(),
                             .workload_pages = {{SyntheticVmcore::kKernelPhysical}}};
  const Verdict verdict = judge(reader, options, witness);
  require(verdict.samples == witness.samples);
  require(verdict.checks_passed == witness.passed && verdict.checks_failed == witness.failed);
  require(verdict.cpus_with_registers == witness.with_registers);
  require(witness.passed + witness.failed == 6 || (witness.passed == 0 && witness.failed == 1));
}

void fuzz(Bytes input) {
  if (input.empty()) return;
  if ((std::to_integer<int>(input[0]) & 1) == 0) return judge_bytes(input.subspan(1));
  std::vector<std::byte> file = SyntheticVmcore().build();
  // Changes: two bytes of where (in units that reach every header, note and table), eight bytes of what.
  for (std::size_t at = 1; at + 10 <= input.size(); at += 10) {
    const std::size_t where = *load<std::uint16_t>(input, at) % (file.size() - 8);
    std::ranges::copy(input.subspan(at + 2, 8), file.begin() + static_cast<std::ptrdiff_t>(where));
  }
  judge_bytes(file);
}

}  // namespace
}  // namespace panicroom::vmcore

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  panicroom::vmcore::fuzz(std::as_bytes(std::span(data, size)));
  return 0;
}
