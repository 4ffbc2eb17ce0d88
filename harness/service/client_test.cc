#include "harness/service/client.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "base/file.h"
#include "harness/service/server_fixture.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

using ClientTest = ServerTest;

TEST_F(ClientTest, AClientSeesEachEventOnceThroughARestart) {
  start();
  const auto address = server_->addresses().front();
  const auto name = start_run();
  std::optional<FakeRunner::Waiting> waiting(runner_->wait_for_run());
  start_run();  // Is queued, and goes on after the restart.
  auto client = Client::open({.address = address, .tls = {}}).value();
  std::vector<std::uint64_t> seen;
  std::atomic<int> troubles = 0;
  Result<v1::RunEnded> ended = host_error("not watched");
  std::jthread watching([&] {
    ended = client.watch_run(
        "runs/2", [&](const v1::RunEvent& event) { seen.push_back(event.sequence()); },
        [&](std::string_view) { ++troubles; });
  });
  server_.reset();
  waiting.reset();
  start();
  let_run();
  watching.join();
  ASSERT_TRUE(ended) << ended.error().message();
  EXPECT_EQ(ended->state(), v1::RUN_STATE_FINISHED);
  EXPECT_THAT(seen, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(watch(name, 2), ElementsAre("3 RUN_STATE_INTERRUPTED"));
}

TEST_F(ClientTest, AClientFetchesEveryFile) {
  start();
  const auto name = start_run();
  let_run();
  watch(name, 0);
  auto client = Client::open({.address = server_->addresses().front(), .tls = {}}).value();
  const auto out = directory_.path() / "fetched";
  ASSERT_TRUE(client.fetch(name, out, [](std::string_view) {}));
  EXPECT_EQ(read_text_file(out / "sub/console.log").value(), "hello from the guest\n");
  EXPECT_EQ(read_text_file(out / "report.json").value(), "{}\n");
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(out)) files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 2u);
  EXPECT_EQ(client.get_run("runs/9").error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(client.list_runs().value(), SizeIs(1));
  auto wrong = request();
  wrong.mutable_scenario_files(0)->set_yaml("name: [");
  EXPECT_THAT(client.start_run(wrong).error().message(), HasSubstr("scenario_files[0].yaml: one.yaml:1:"));
}

TEST_F(ClientTest, AClientWithoutAServerIsTold) {
  auto client = Client::open({.address = "unix:" + (directory_.path() / "nobody").string(), .tls = {}}).value();
  const auto runs = client.list_runs();
  ASSERT_FALSE(runs);
  EXPECT_EQ(runs.error().kind(), ErrorKind::kHost);
}

TEST_F(ClientTest, NothingGoesToAnotherHostInPlainText) {
  for (const auto* address : {"192.0.2.1:1", "example.org:1", "[2001:db8::1]:1"}) {
    const auto client = Client::open({.address = address, .tls = {}});
    ASSERT_FALSE(client) << address;
    EXPECT_THAT(client.error().message(), HasSubstr("--tls-certificate"));
  }
  EXPECT_FALSE(Client::open({.address = "nonsense", .tls = {}}));
}

TEST_F(ClientTest, ARequestThatIsRepeatedIsOneRun) {
  start();
  auto client = Client::open({.address = server_->addresses().front(), .tls = {}}).value();
  auto once = request();
  once.set_request_id("ci-7_b");
  EXPECT_EQ(client.start_run(once)->name(), "runs/1");
  EXPECT_EQ(client.start_run(once)->name(), "runs/1");
  EXPECT_EQ(client.start_run(request())->name(), "runs/2");
  auto other = once;
  other.mutable_options()->set_repeat(2);
  EXPECT_THAT(client.start_run(other).error().message(), HasSubstr("request_id"));
  once.set_request_id("a b");
  EXPECT_THAT(client.start_run(once).error().message(), HasSubstr("request_id"));
  server_->stop();
}

}  // namespace
}  // namespace panicroom::service
