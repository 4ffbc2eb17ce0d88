// The dump that makedumpfile saved in the capture kernel: put together from what it wrote, opened, and compared with
// what the hypervisor knows of the crash.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/result.h"
#include "harness/observer/crash_truth.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// Takes the parts as they come from the guest, and writes them to a file. One thread.
class SavedDump {
 public:
  static constexpr std::string_view kFile = "vmcore";
  // More than a machine's memory is no dump of it.
  static constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;

  // In this folder, which is there. Nothing is written before the first part.
  explicit SavedDump(std::filesystem::path folder);

  // kHost if it is not the next part, or cannot be written (a full disk).
  Result<> add(std::uint64_t offset, Bytes part);

  struct Finding {
    v1::SavedDump saved;
    std::vector<v1::DumpCheck> checks;
    std::string trouble;  // Names the checks that failed; empty if none did.
  };
  // makedumpfile has ended, and `end` is how. The file is put together (which leaves kFile in the folder), opened and
  // compared. kHost if a program that this needs cannot be run, naming its package, or if parts are missing.
  Result<Finding> finish(const agent::v1::DumpSaved& end, const CrashTruth& truth);

 private:
  [[nodiscard]] std::filesystem::path flat() const { return folder_ / "vmcore.flat"; }
  Result<> put_together(Finding& finding) const;
  Result<> compare(const CrashTruth& truth, Finding& finding) const;
  Result<> compare_log(const CrashTruth& truth, Finding& finding) const;

  std::filesystem::path folder_;
  UniqueFd file_;
  std::uint64_t bytes_ = 0;
};

}  // namespace panicroom::harness
