// What the capture kernel's agent says of the vmcore, compared with what the hypervisor saw.
//
// Everything that comes from the guest is a claim: it is bounded, and where the host knows better it is checked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "agent/protocol/frame.h"
#include "base/address.h"
#include "base/result.h"
#include "harness/observer/crash_truth.h"
#include "harness/scenario/scenario.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

class DumpJudge {
 public:
  // Takes a message of the capture kernel's agent; others are ignored. More than kMaxEvidence bytes of text is dropped.
  void take(const agent::v1::Message& message);
  // Takes note that something in the agent's stream was no message. What the first kernel's agent left unfinished does
  // not count: only what comes after the capture kernel's agent has begun.
  void take(const agent::ProtocolError& error);

  // The capture kernel's agent has said that it runs.
  [[nodiscard]] bool agent_runs() const { return agent_runs_; }

  // A vmcore was opened.
  [[nodiscard]] bool opened() const { return opened_; }
  // The agent has said all it has to say.
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] const std::string& dead_log() const { return dead_log_; }

  struct Finding {
    v1::Dump dump;
    Outcome outcome = Outcome::kDumpInvalid;  // kDumped, kDumpIncomplete or kDumpInvalid.
    std::string detail;                       // Why it is not kDumped; empty if it is.
  };
  // Only once finished(). kHost if what the agent counted is not what arrived: then there is no telling what was lost.
  [[nodiscard]] Result<Finding> judge(const CrashTruth& truth, const DumpExpectation& expectation) const;

 private:
  static constexpr std::size_t kMaxEvidence = 16u << 20;
  static constexpr std::size_t kMaxRecords = 8192 + 64;
  static constexpr std::size_t kMaxSamples = 6UL * 4096;

  [[nodiscard]] Result<> check_stream() const;

  bool agent_runs_ = false;
  std::size_t stream_errors_ = 0;
  agent::v1::Judged totals_;
  bool opened_ = false;
  bool finished_ = false;
  std::uint64_t vmcore_bytes_ = 0;
  std::vector<agent::v1::Check> checks_;
  std::vector<agent::v1::Prstatus> prstatus_;
  std::vector<agent::v1::Load> loads_;
  std::vector<agent::v1::Sample> samples_;
  std::string vmcoreinfo_;
  std::string dead_log_;
};

}  // namespace panicroom::harness
