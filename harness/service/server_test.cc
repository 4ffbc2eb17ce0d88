// The service as clients meet it.
#include "harness/service/server.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/file.h"
#include "harness/service/grpc_status.h"
#include "harness/service/run_name.h"
#include "harness/service/server_fixture.h"
#include "harness/service/sha256.h"
#include "panicroom/v1/host_service.grpc.pb.h"
#include "panicroom/v1/kernel_service.grpc.pb.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string sha256(std::string_view text) {
  Sha256 hash;
  hash.add(text);
  return hash.finish().value();
}

TEST_F(ServerTest, ARunFromItsStartToItsEnd) {
  start();
  const auto name = start_run();
  EXPECT_EQ(name, "runs/1");
  let_run();
  EXPECT_THAT(watch(name, 0), ElementsAre("1 a", "2 b", "3 c", "4 conclusion", "5 RUN_STATE_FINISHED"));
  grpc::ClientContext context;
  v1::GetRunRequest get;
  get.set_name(name);
  v1::GetRunResponse response;
  ASSERT_TRUE(runs_->GetRun(&context, get, &response).ok());
  EXPECT_EQ(response.run().state(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(response.run().scenario_count(), 1u);
  EXPECT_EQ(response.run().counts().passed(), 1u);
  EXPECT_THAT(runner_->arguments(), HasSubstr("run --out=" + (options_.state / "runs/1/out").string()));
}

TEST_F(ServerTest, AWatchIsResumedBehindAnyEvent) {
  start();
  const auto name = start_run();
  {
    // Live: the first events are there while the run still goes on.
    const auto waiting = runner_->wait_for_run();
    grpc::ClientContext context;
    v1::WatchRunRequest watch;
    watch.set_name(name);
    const auto reader = runs_->WatchRun(&context, watch);
    v1::WatchRunResponse response;
    ASSERT_TRUE(reader->Read(&response));
    ASSERT_TRUE(reader->Read(&response));
    EXPECT_EQ(response.event().notice().text(), "b");
    context.TryCancel();
    reader->Finish();
  }
  EXPECT_THAT(watch(name, 2), ElementsAre("3 c", "4 conclusion", "5 RUN_STATE_FINISHED"));
  EXPECT_THAT(watch(name, 0), SizeIs(5));
  EXPECT_THAT(watch(name, 4), ElementsAre("5 RUN_STATE_FINISHED"));
  EXPECT_THAT(watch(name, 5), IsEmpty());
  grpc::Status status;
  EXPECT_THAT(watch(name, 6, &status), IsEmpty());
  EXPECT_EQ(status.error_code(), StatusCode::OUT_OF_RANGE);
  watch("runs/99", 0, &status);
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  watch("nonsense", 0, &status);
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
}

TEST_F(ServerTest, ManyWatchersEachSeeEveryEvent) {
  start();
  const auto name = start_run();
  std::vector<std::vector<std::string>> seen(50);
  {
    std::optional<FakeRunner::Waiting> waiting(runner_->wait_for_run());
    std::vector<std::jthread> threads;
    threads.reserve(seen.size());
    for (auto& events : seen) threads.emplace_back([&] { events = watch(name, 0); });
    waiting.reset();
  }
  for (const auto& events : seen) EXPECT_THAT(events, SizeIs(5));
}

TEST_F(ServerTest, ASlowReaderDelaysNobody) {
  // More than gRPC and the kernel keep for one that does not read.
  FakeRun run;
  for (int i = 0; i < 200; ++i) run.before.push_back(notice(std::string(100'000, 'x')));
  run.after = {conclusion(0)};
  runner_->prepare(run);
  start();
  const auto name = start_run();
  grpc::ClientContext context;
  v1::WatchRunRequest slow;
  slow.set_name(name);
  const auto reader = runs_->WatchRun(&context, slow);
  v1::WatchRunResponse response;
  ASSERT_TRUE(reader->Read(&response));
  let_run();
  EXPECT_THAT(watch(name, 200), ElementsAre("201 conclusion", "202 RUN_STATE_FINISHED"));
  std::uint64_t last = 1;
  while (reader->Read(&response)) EXPECT_EQ(response.event().sequence(), ++last);
  EXPECT_EQ(last, 202u);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ServerTest, TooManyWatchersAreRefused) {
  options_.max_watchers = 1;
  start();
  const auto name = start_run();
  grpc::ClientContext context;
  v1::WatchRunRequest watch_request;
  watch_request.set_name(name);
  const auto reader = runs_->WatchRun(&context, watch_request);
  v1::WatchRunResponse response;
  ASSERT_TRUE(reader->Read(&response));
  grpc::Status status;
  watch(name, 0, &status);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  let_run();
  while (reader->Read(&response)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ServerTest, MistakesAreToldFieldByField) {
  start();
  auto wrong = request();
  wrong.mutable_scenario_files(0)->set_yaml(std::string(kScenario) + "what: 1\n");
  wrong.mutable_options()->set_engine("xen");
  const auto status = try_run(wrong);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  const auto violations = violations_of(status);
  ASSERT_THAT(violations, SizeIs(1));
  EXPECT_EQ(violations[0].field, "options.engine");
  wrong.mutable_options()->clear_engine();
  const auto yaml = violations_of(try_run(wrong));
  ASSERT_FALSE(yaml.empty());
  EXPECT_EQ(yaml[0].field, "scenario_files[0].yaml");
  EXPECT_THAT(yaml[0].description, HasSubstr("one.yaml:5:1: error: "));
  // Nothing is left of what was refused.
  EXPECT_TRUE(fs::is_empty(options_.state / "staging"));
  EXPECT_TRUE(fs::is_empty(options_.state / "runs"));
}

TEST_F(ServerTest, ManyMistakesFitIntoAnAnswer) {
  start();
  auto wrong = request();
  wrong.clear_scenario_files();
  for (int i = 0; i < 100; ++i) wrong.add_scenario_files()->set_path(std::string(300, '/'));
  const auto status = try_run(wrong);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(violations_of(status), testing::Not(IsEmpty()));
}

TEST_F(ServerTest, AMessageThatIsTooLargeIsRefused) {
  start();
  auto large = request();
  large.mutable_scenario_files(0)->set_yaml(std::string(9 << 20, '#'));
  EXPECT_EQ(try_run(large).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(start_run(), "runs/1");
  let_run();
}

TEST_F(ServerTest, WhatIsNoMessageIsRefused) {
  start();
  grpc::GenericStub stub(channel_);
  for (const auto* method : {"/panicroom.v1.RunService/StartRun", "/panicroom.v1.RunService/WatchRun",
                             "/panicroom.v1.ArtifactService/DownloadArtifact"}) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice("\xff\xff\xff\xff\xff");
    const grpc::ByteBuffer bytes(&slice, 1);
    const auto call = stub.PrepareUnaryCall(&context, method, bytes, &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_FALSE(status.ok()) << method;
  }
  EXPECT_EQ(start_run(), "runs/1");
  let_run();
}

TEST_F(ServerTest, AFullQueueTakesNoMore) {
  options_.max_queued = 2;
  start();
  start_run();
  const auto waiting = runner_->wait_for_run();
  start_run();
  start_run();
  EXPECT_EQ(try_run(request()).error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerTest, AFullDiskTakesNoRun) {
  options_.min_free_bytes = ~std::uint64_t{0};
  start();
  EXPECT_EQ(try_run(request()).error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerTest, RunsAreListedInPages) {
  start();
  for (int i = 0; i < 5; ++i) start_run();
  const auto waiting = runner_->wait_for_run();
  v1::ListRunsRequest list;
  list.set_page_size(2);
  std::vector<std::string> names;
  do {
    grpc::ClientContext context;
    v1::ListRunsResponse response;
    ASSERT_TRUE(runs_->ListRuns(&context, list, &response).ok());
    EXPECT_LE(response.runs_size(), 2);
    for (const auto& run : response.runs()) names.push_back(run.name());
    list.set_page_token(response.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_THAT(names, ElementsAre("runs/5", "runs/4", "runs/3", "runs/2", "runs/1"));
  const auto refused = [&](const v1::ListRunsRequest& bad) {
    grpc::ClientContext context;
    v1::ListRunsResponse response;
    return runs_->ListRuns(&context, bad, &response).error_code();
  };
  list.set_page_token("nonsense");
  EXPECT_EQ(refused(list), StatusCode::INVALID_ARGUMENT);
  list.clear_page_token();
  list.set_page_size(-1);
  EXPECT_EQ(refused(list), StatusCode::INVALID_ARGUMENT);
  list.set_page_size(1);
  list.set_state(static_cast<v1::RunState>(99));
  EXPECT_EQ(refused(list), StatusCode::INVALID_ARGUMENT);
  list.set_state(v1::RUN_STATE_RUNNING);
  grpc::ClientContext context;
  v1::ListRunsResponse running;
  ASSERT_TRUE(runs_->ListRuns(&context, list, &running).ok());
  ASSERT_EQ(running.runs_size(), 1);
  EXPECT_EQ(running.runs(0).name(), "runs/1");
}

TEST_F(ServerTest, CancelledRunsEndTheirWatches) {
  start();
  const auto first = start_run();
  const auto waiting = runner_->wait_for_run();
  const auto second = start_run();
  for (const auto& name : {second, first}) {
    grpc::ClientContext context;
    v1::CancelRunRequest cancel;
    cancel.set_name(name);
    v1::CancelRunResponse response;
    ASSERT_TRUE(runs_->CancelRun(&context, cancel, &response).ok());
  }
  EXPECT_THAT(watch(second, 0), ElementsAre("1 RUN_STATE_CANCELLED"));
  EXPECT_THAT(watch(first, 0), ElementsAre("1 a", "2 b", "3 RUN_STATE_CANCELLED"));
}

TEST_F(ServerTest, ArtifactsAreListedAndDownloaded) {
  start();
  const auto name = start_run();
  let_run();
  watch(name, 0);
  v1::ListArtifactsRequest list;
  list.set_parent(name);
  list.set_page_size(1);
  std::vector<std::string> names;
  do {
    grpc::ClientContext context;
    v1::ListArtifactsResponse response;
    ASSERT_TRUE(artifacts_->ListArtifacts(&context, list, &response).ok());
    for (const auto& artifact : response.artifacts()) names.push_back(artifact.name());
    list.set_page_token(response.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_THAT(names, ElementsAre("runs/1/artifacts/report.json", "runs/1/artifacts/sub/console.log"));

  const std::string whole = "hello from the guest\n";
  for (const std::uint64_t offset : {0u, 5u, 21u}) {
    std::string bytes;
    std::string digest;
    EXPECT_TRUE(download(names[1], offset, bytes, digest).ok());
    EXPECT_EQ(bytes, whole.substr(offset));
    EXPECT_EQ(digest, sha256(whole));
  }
  std::string nothing;
  EXPECT_EQ(download(names[1], 22, nothing, nothing).error_code(), StatusCode::OUT_OF_RANGE);
  for (const auto* bad : {"runs/1/artifacts/../journal", "runs/1/artifacts//etc/passwd", "runs/2/artifacts/report.json",
                          "runs/1/artifacts/absent", "runs/1/artifacts/sub", "", "runs/1"}) {
    EXPECT_EQ(download(bad, 0, nothing, nothing).error_code(), StatusCode::NOT_FOUND) << bad;
  }
  EXPECT_EQ(nothing, "");
}

TEST_F(ServerTest, ALargeFileIsDownloadedFromAnywhere) {
  start();
  const auto name = start_run();
  const auto waiting = runner_->wait_for_run();
  std::string large;
  for (int i = 0; i < 40'000; ++i) large += fmt::format("line {}\n", i);
  ASSERT_TRUE(write_file(options_.state / "runs/1/out/large", large));
  for (const std::size_t offset : {std::size_t{0}, std::size_t{65'536}, std::size_t{100'001}, large.size() - 1}) {
    std::string bytes;
    std::string digest;
    EXPECT_TRUE(download("runs/1/artifacts/large", offset, bytes, digest).ok());
    EXPECT_EQ(bytes, large.substr(offset));
    EXPECT_EQ(digest, sha256(large));
  }
}

TEST_F(ServerTest, TooManyDownloadsAreRefused) {
  options_.max_downloads = 0;
  start();
  const auto name = start_run();
  const auto waiting = runner_->wait_for_run();
  std::string nothing;
  EXPECT_EQ(download("runs/1/artifacts/report.json", 0, nothing, nothing).error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerTest, KernelsAndHost) {
  options_.host.set_name("lab");
  options_.kernels = [] {
    return std::vector<kernels::StoredKernel>{
        {.image = "a", .modules = {}, .release = "6.1.0-1-amd64", .package_version = "1", .config = {}},
        {.image = "b", .modules = {}, .release = "6.0-own", .package_version = "", .config = {}},
        {.image = "c", .modules = {}, .release = "5.10.0-1-amd64", .package_version = "2", .config = {}}};
  };
  start();
  const auto kernels = v1::KernelService::NewStub(channel_);
  v1::ListKernelsRequest list;
  list.set_page_size(1);
  std::vector<std::string> references;
  do {
    grpc::ClientContext context;
    v1::ListKernelsResponse response;
    ASSERT_TRUE(kernels->ListKernels(&context, list, &response).ok());
    for (const auto& kernel : response.kernels()) references.push_back(kernel.reference());
    list.set_page_token(response.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_THAT(references, ElementsAre("debian:6.1.0-1-amd64", "debian:5.10.0-1-amd64"));
  grpc::ClientContext context;
  v1::GetHostResponse response;
  ASSERT_TRUE(v1::HostService::NewStub(channel_)->GetHost(&context, {}, &response).ok());
  EXPECT_EQ(response.host().name(), "lab");
  EXPECT_EQ(response.panicroom_version(), "test");
}

TEST_F(ServerTest, OneServerHasAStateDirectory) {
  start();
  const auto second = Server::start(options_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), HasSubstr("another server"));
}

TEST_F(ServerTest, ListensWhereStrangersAreNot) {
  for (const auto* address : {"0.0.0.0:1234", "[::]:1234", "192.0.2.1:1234", "example.org:1234", "127.0.0.1",
                              "127.0.0.1:99999", "127.0.0.1:x", "unix:", "127.0.0.2.example.org:1", ":1234"}) {
    options_.listen = {address};
    const auto server = Server::start(options_);
    ASSERT_FALSE(server) << address;
    EXPECT_EQ(server.error().kind(), ErrorKind::kInvalidInput) << address;
  }
  options_.listen = {"127.0.0.1:0"};
  start();
  EXPECT_THAT(server_->addresses().front(), testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_EQ(start_run(), "runs/1");
  let_run();
  EXPECT_EQ(fs::status(options_.state).permissions(), fs::perms::owner_all);
}

}  // namespace
}  // namespace panicroom::service
