#include "harness/service/call_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing/temporary_directory.h"

namespace panicroom::service {
namespace {

using grpc::StatusCode;
using std::chrono::seconds;
using testing::ElementsAre;
using Identities = std::vector<std::string>;

class CallGateTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.clients = directory_.path() / "clients.yaml";
    options_.refused = [this](std::string_view why) { refused_.emplace_back(why); };
    options_.log = [this](const LogEntry& entry) { log_.push_back(entry.message); };
    write("clients: {seer: view, runner: run, boss: control}\n");
  }
  void write(const std::string& text) {
    // Another file each time, as editors do it: two writes may fall into one tick of the file system's clock.
    const auto next = directory_.path() / "next";
    ASSERT_TRUE(write_file(next, text));
    if (std::filesystem::exists(options_.clients)) {
      std::filesystem::rename(options_.clients, directory_.path() / std::to_string(++writes_));
    }
    std::filesystem::rename(next, options_.clients);
  }
  StatusCode code(const std::optional<Identities>& identities, Role needed) {
    return gate_->admit(identities, needed, now_, caller_).error_code();
  }
  void open() {
    auto gate = CallGate::open(options_);
    ASSERT_TRUE(gate) << gate.error().message();
    gate_.emplace(*std::move(gate));
  }

  TemporaryDirectory directory_;
  CallGateOptions options_;
  std::optional<CallGate> gate_;
  CallGate::Clock::time_point now_;
  Caller caller_;
  std::vector<std::string> refused_;
  std::vector<std::string> log_;
  int writes_ = 0;
};

TEST_F(CallGateTest, RolesBoundWhatIsTaken) {
  open();
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::OK);
  EXPECT_EQ(code(Identities{"seer"}, Role::kRun), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(code(Identities{"runner"}, Role::kRun), StatusCode::OK);
  EXPECT_EQ(code(Identities{"runner"}, Role::kControl), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(code(Identities{"boss"}, Role::kControl), StatusCode::OK);
  EXPECT_EQ(code(Identities{"stranger"}, Role::kView), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(refused_, ElementsAre("role", "role", "unknown"));
}

TEST_F(CallGateTest, ACertificateWithoutANameIsNobodyLocal) {
  open();
  EXPECT_EQ(code(Identities{}, Role::kView), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(code(std::nullopt, Role::kControl), StatusCode::OK);
  EXPECT_EQ(caller_.identity, kLocalIdentity);
}

TEST_F(CallGateTest, TheBestOfSeveralNamesCounts) {
  open();
  EXPECT_EQ(code(Identities{"stranger", "seer", "boss", "runner"}, Role::kControl), StatusCode::OK);
  EXPECT_EQ(caller_.identity, "boss");
}

TEST_F(CallGateTest, RunsAreEndedByTheirOwnersAndByControl) {
  EXPECT_TRUE((Caller{.identity = "a", .role = Role::kRun}).may_end_run_of("a"));
  EXPECT_FALSE((Caller{.identity = "a", .role = Role::kRun}).may_end_run_of("b"));
  EXPECT_TRUE((Caller{.identity = "a", .role = Role::kControl}).may_end_run_of("b"));
}

TEST_F(CallGateTest, CallsInATimeAreBoundedForEachClient) {
  options_.burst = 3;
  options_.calls_in_a_second = 2;
  open();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::OK);
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(code(Identities{"boss"}, Role::kView), StatusCode::OK);
  now_ += seconds(1);
  EXPECT_EQ(code(Identities{"seer"}, Role::kRun), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::OK);
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::RESOURCE_EXHAUSTED);
  // However long it was away.
  now_ += seconds(1000);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::OK);
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(CallGateTest, ClientsWithoutARoleAreBoundedTogether) {
  options_.burst = 2;
  open();
  EXPECT_EQ(code(Identities{"stranger"}, Role::kView), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(code(Identities{}, Role::kView), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(code(Identities{"another"}, Role::kView), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::OK);
}

TEST_F(CallGateTest, LocalCallersAreNotCounted) {
  options_.burst = 1;
  open();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(code(std::nullopt, Role::kControl), StatusCode::OK);
}

TEST_F(CallGateTest, AFileThatHasChangedIsReadAgain) {
  open();
  write("clients: {seer: run}\n");
  EXPECT_EQ(code(Identities{"seer"}, Role::kRun), StatusCode::OK);
  EXPECT_EQ(code(Identities{"boss"}, Role::kView), StatusCode::PERMISSION_DENIED);
}

TEST_F(CallGateTest, WhileTheFileIsWrongOnlyLocalCallersComeIn) {
  open();
  write("clients: {seer: king}\n");
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(code(std::nullopt, Role::kView), StatusCode::OK);
  ASSERT_EQ(log_.size(), 1u);
  EXPECT_THAT(log_[0], testing::HasSubstr("'king' is no role"));
  std::filesystem::remove(options_.clients);
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::FAILED_PRECONDITION);
  write("clients: {seer: view}\n");
  EXPECT_EQ(code(Identities{"seer"}, Role::kView), StatusCode::OK);
}

TEST_F(CallGateTest, AWrongFileIsNoStart) {
  write("clients: {seer: king}\n");
  EXPECT_FALSE(CallGate::open(options_));
}

}  // namespace
}  // namespace panicroom::service
