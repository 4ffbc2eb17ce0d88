// Control sessions as clients meet them, with a process that has no machine: who ends them, and what bounds them.
#include "harness/service/control_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/testing/temporary_directory.h"
#include "harness/service/control_open.h"
#include "harness/service/fake_runner.h"
#include "harness/service/grpc_status.h"
#include "harness/service/server.h"
#include "panicroom/v1/control_service.grpc.pb.h"
#include "panicroom/v1/run_service.grpc.pb.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Client {
 public:
  explicit Client(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::ControlService::NewStub(channel)), stream_(stub_->Control(&context_)) {}

  bool write(v1::ControlRequest request) {
    request.set_id(++id_);
    return stream_->Write(request);
  }
  bool open() {
    v1::ControlRequest request;
    request.mutable_open();
    return write(request);
  }
  bool tell(const std::string& what) {
    v1::ControlRequest request;
    request.mutable_look_up_symbol()->set_name(what);
    return write(request);
  }
  bool await() {
    v1::ControlRequest request;
    request.mutable_await_outcome();
    return write(request);
  }
  // The next result's number; 0 if the stream has ended.
  std::uint64_t result() {
    v1::ControlResponse response;
    while (stream_->Read(&response)) {
      if (response.has_result()) return response.result().id();
    }
    return 0;
  }
  grpc::Status finish() {
    v1::ControlResponse response;
    while (stream_->Read(&response)) {
    }
    return stream_->Finish();
  }
  grpc::Status close() {
    stream_->WritesDone();
    return finish();
  }
  void cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::ControlService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ControlRequest, v1::ControlResponse>> stream_;
  std::uint64_t id_ = 0;
};

class ControlServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.state = directory_.path() / "s";
    options_.program = {PANICROOM_FAKE_CONTROL_SESSION};
    options_.min_free_bytes = 0;
    options_.log = [this](const LogEntry& entry) {
      const std::lock_guard lock(mutex_);
      log_ += entry.message + "\n";
      logged_.notify_all();
    };
  }
  // Until a session's process has been waited for.
  void wait_for_end() {
    std::unique_lock lock(mutex_);
    logged_.wait(lock, [this] { return log_.find("has ended") != std::string::npos; });
  }
  void start() {
    auto server = Server::start(options_);
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->addresses().front(), grpc::InsecureChannelCredentials());
  }
  std::unique_ptr<Client> client() { return std::make_unique<Client>(channel_); }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  // What sessions have left of their folders.
  [[nodiscard]] bool left_something() const { return !fs::is_empty(options_.state / "control"); }

  TemporaryDirectory directory_;
  std::mutex mutex_;
  std::condition_variable logged_;
  std::string log_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ControlServiceTest, EachRequestIsAnsweredUntilTheClientCloses) {
  start();
  const auto one = client();
  one->open();
  EXPECT_EQ(one->result(), 1U);
  one->tell("a");
  one->tell("b");
  EXPECT_EQ(one->result(), 2U);
  EXPECT_EQ(one->result(), 3U);
  EXPECT_TRUE(one->close().ok());
  EXPECT_FALSE(left_something());
  // The place is free when the client knows of the end.
  const auto two = client();
  two->open();
  EXPECT_EQ(two->result(), 1U);
  EXPECT_TRUE(two->close().ok());
}

TEST_F(ControlServiceTest, SessionsAreBounded) {
  start();
  const auto one = client();
  one->open();
  EXPECT_EQ(one->result(), 1U);
  EXPECT_EQ(client()->finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  one->cancel();
  EXPECT_EQ(one->finish().error_code(), StatusCode::CANCELLED);
}

TEST_F(ControlServiceTest, ACancelledStreamEndsItsProcess) {
  start();
  const auto one = client();
  one->open();
  EXPECT_EQ(one->result(), 1U);
  EXPECT_TRUE(left_something());
  one->cancel();
  one->finish();
  wait_for_end();
  EXPECT_THAT(log(), HasSubstr("(by the client); its process ended with status"));
  server_->stop();
  EXPECT_FALSE(left_something());
}

TEST_F(ControlServiceTest, AFullDiskTakesNoSessions) {
  options_.min_free_bytes = ~std::uint64_t{0};
  start();
  const auto one = client();
  one->open();
  EXPECT_EQ(one->finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ControlServiceTest, AStubbornProcessIsKilled) {
  options_.grace = std::chrono::seconds(1);
  start();
  const auto one = client();
  one->open();
  one->tell("stubborn");
  EXPECT_EQ(one->result(), 1U);
  EXPECT_EQ(one->result(), 2U);
  EXPECT_TRUE(one->close().ok());
  EXPECT_THAT(log(), HasSubstr("was killed"));
}

TEST_F(ControlServiceTest, ASessionThatNobodyUsesEnds) {
  options_.control_idle_limit = std::chrono::seconds(1);
  start();
  const auto silent = client();
  EXPECT_EQ(silent->finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  const auto one = client();
  one->open();
  EXPECT_EQ(one->result(), 1U);
  EXPECT_EQ(one->finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_FALSE(left_something());
}

TEST_F(ControlServiceTest, OneThatIsAtWorkDoesNotUntilItWaitsForTheClient) {
  options_.max_control_sessions = 2;
  options_.control_idle_limit = std::chrono::seconds(1);
  start();
  const auto working = client();
  working->open();
  EXPECT_EQ(working->result(), 1U);
  working->await();
  // It began later, and so the other one would have ended before it.
  const auto idle = client();
  idle->open();
  EXPECT_EQ(idle->finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  working->tell("stop");
  EXPECT_EQ(working->result(), 3U);
  EXPECT_EQ(working->finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(ControlServiceTest, WhatBecomesOfTheProcessIsTold) {
  start();
  const auto died = client();
  died->open();
  died->tell("die");
  EXPECT_EQ(died->finish().error_code(), StatusCode::ABORTED);
  EXPECT_THAT(log(), HasSubstr("status 7: it died"));
  const auto garbage = client();
  garbage->open();
  garbage->tell("garbage");
  EXPECT_EQ(garbage->finish().error_code(), StatusCode::ABORTED);
  const auto lost = client();
  lost->open();
  lost->tell("lost");
  const auto status = lost->finish();
  EXPECT_EQ(status.error_code(), StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "the machine was lost");
}

TEST_F(ControlServiceTest, AServerThatStopsEndsSessions) {
  start();
  const auto one = client();
  one->open();
  EXPECT_EQ(one->result(), 1U);
  server_->stop();
  const auto code = one->finish().error_code();
  EXPECT_TRUE(code == StatusCode::UNAVAILABLE || code == StatusCode::CANCELLED) << code;
  EXPECT_FALSE(left_something());
}

TEST_F(ControlServiceTest, AClientThatDoesNotReadStopsNobodyElse) {
  options_.max_control_sessions = 2;
  options_.control_idle_limit = std::chrono::seconds(1);
  start();
  const auto slow = client();
  slow->open();
  slow->tell("flood");
  const auto quick = client();
  quick->open();
  EXPECT_EQ(quick->result(), 1U);
  EXPECT_TRUE(quick->close().ok());
  // Runs go their own way.
  const auto runs = v1::RunService::NewStub(channel_);
  grpc::ClientContext context;
  v1::ListRunsResponse response;
  EXPECT_TRUE(runs->ListRuns(&context, {}, &response).ok());
  server_->stop();
  EXPECT_FALSE(left_something());
}

TEST_F(ControlServiceTest, MistakesAreToldAtOnce) {
  start();
  const auto one = client();
  v1::ControlRequest request;
  request.mutable_resume();
  one->write(request);
  const auto status = one->finish();
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(violations_of(status),
              ElementsAre(Violation{.field = "open", .description = "the first request opens the machine"}));
  const auto empty = client();
  EXPECT_EQ(empty->close().error_code(), StatusCode::INVALID_ARGUMENT);
  const auto large = client();
  large->open();
  v1::ControlRequest memory;
  memory.mutable_write_memory()->set_data(std::string(2 << 20, 'x'));
  large->write(memory);
  EXPECT_EQ(large->finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST(ControlOpen, EveryMistakeIsTold) {
  RequestPolicy policy;
  v1::ControlRequest request;
  request.set_id(1);
  auto& open = *request.mutable_open();
  EXPECT_THAT(check_control_open(request, policy), IsEmpty());
  open.set_kernel("/etc/passwd");
  open.set_capture_kernel("debian:*/cloud-amd64");
  open.set_engine("bochs");
  open.mutable_machine()->set_memory("17G");
  open.set_kernel_cmdline("init=/bin/sh");
  (*open.mutable_workload())["cpu9"] = "syscalls";
  open.add_unfix("everything");
  open.add_stop_ipi()->set_deliver("maybe");
  std::vector<std::string> fields;
  for (const auto& violation : check_control_open(request, policy)) fields.push_back(violation.field);
  EXPECT_THAT(fields, ElementsAre("open.kernel", "open.capture_kernel", "open.engine", "open.kernel_cmdline",
                                  "open.workload", "open.unfix", "open.stop_ipi", "open.machine"));
}

}  // namespace
}  // namespace panicroom::service
