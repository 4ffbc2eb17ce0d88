// A server in the test's own process, and gRPC over a unix socket in a temporary directory.
#pragma once

#include <grpcpp/create_channel.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/testing/temporary_directory.h"
#include "harness/service/fake_runner.h"
#include "harness/service/server.h"
#include "panicroom/v1/artifact_service.grpc.pb.h"
#include "panicroom/v1/run_service.grpc.pb.h"

namespace panicroom::service {

inline constexpr const char* kScenario =
    "name: one\ntimeline:\n  - {cpu: 0, at: panic, do: note}\nexpect: {outcome: dumped}\n";

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(directory_.path() / "fake");
    runner_.emplace(directory_.path() / "fake");
    runner_->prepare({.before = {notice("a"), notice("b")}, .after = {notice("c"), conclusion(0, "", 1)}});
    options_.state = directory_.path() / "s";
    options_.program = runner_->program();
    options_.version = "test";
    options_.min_free_bytes = 0;
  }

  void start() {
    auto server = Server::start(options_);
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->addresses().front(), grpc::InsecureChannelCredentials());
    runs_ = v1::RunService::NewStub(channel_);
    artifacts_ = v1::ArtifactService::NewStub(channel_);
  }

  static v1::StartRunRequest request() {
    v1::StartRunRequest request;
    auto& file = *request.add_scenario_files();
    file.set_path("one.yaml");
    file.set_yaml(kScenario);
    return request;
  }

  grpc::Status try_run(const v1::StartRunRequest& request, v1::RunRecord* record = nullptr) {
    grpc::ClientContext context;
    v1::StartRunResponse response;
    auto status = runs_->StartRun(&context, request, &response);
    if (record != nullptr) *record = response.run();
    return status;
  }
  std::string start_run() {
    v1::RunRecord record;
    const auto status = try_run(request(), &record);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return record.name();
  }

  // The texts and numbers of a run's events up to its end: "1 a", "5 ended".
  std::vector<std::string> watch(const std::string& name, std::uint64_t after, grpc::Status* status = nullptr) {
    grpc::ClientContext context;
    v1::WatchRunRequest watch;
    watch.set_name(name);
    watch.set_after_sequence(after);
    const auto reader = runs_->WatchRun(&context, watch);
    std::vector<std::string> events;
    v1::WatchRunResponse response;
    while (reader->Read(&response)) {
      const auto& event = response.event();
      const auto what = event.has_notice()       ? event.notice().text()
                        : event.has_conclusion() ? "conclusion"
                        : event.has_ended()      ? v1::RunState_Name(event.ended().state())
                                                 : "?";
      events.push_back(fmt::format("{} {}", event.sequence(), what));
    }
    const auto finished = reader->Finish();
    if (status != nullptr) {
      *status = finished;
    } else {
      EXPECT_TRUE(finished.ok()) << finished.error_message();
    }
    return events;
  }

  void let_run() { const auto waiting = runner_->wait_for_run(); }

  // What a download brings; whether its checksum was right is checked.
  grpc::Status download(const std::string& name, std::uint64_t offset, std::string& bytes, std::string& digest) {
    grpc::ClientContext context;
    v1::DownloadArtifactRequest request;
    request.set_name(name);
    request.set_offset(offset);
    const auto reader = artifacts_->DownloadArtifact(&context, request);
    v1::DownloadArtifactResponse response;
    while (reader->Read(&response)) {
      bytes += response.chunk();
      if (response.has_digest()) digest = response.digest().sha256();
    }
    return reader->Finish();
  }

  TemporaryDirectory directory_;
  std::optional<FakeRunner> runner_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::RunService::Stub> runs_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
};

}  // namespace panicroom::service
