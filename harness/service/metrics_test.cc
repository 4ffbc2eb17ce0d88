#include "harness/service/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/testing/temporary_directory.h"

namespace panicroom::service {
namespace {

using testing::HasSubstr;
using testing::Not;

class MetricsTest : public testing::Test {
 protected:
  void SetUp() override {
    store_ = RunStore::open(directory_.path() / "runs.sqlite").value();
    metrics_.emplace(*store_, watchers_, directory_.path());
  }

  TemporaryDirectory directory_;
  std::unique_ptr<RunStore> store_;
  RunWatchers watchers_;
  std::optional<Metrics> metrics_;
};

// What a client of HTTP/1.0 gets.
std::string get(const std::string& address, const std::string& path) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  const auto request = "GET " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t got = ::read(fd.get(), buffer, sizeof(buffer)); got > 0;
       got = ::read(fd.get(), buffer, sizeof(buffer))) {
    answer.append(buffer, static_cast<std::size_t>(got));
  }
  return answer;
}

TEST_F(MetricsTest, WhatIsNowIsTheStores) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(store_->add({}, {.all = 9, .client = 9}, {}, [](RunId) { return Result<>(); }));
  }
  const auto watching = watchers_.watch(RunId(1), "a", [](bool) {});
  const auto text = metrics_->text();
  EXPECT_THAT(text, HasSubstr("panicroom_runs{state=\"queued\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("panicroom_runs{state=\"running\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("panicroom_watchers 1\n"));
  EXPECT_THAT(text, HasSubstr("panicroom_state_free_bytes "));
}

TEST_F(MetricsTest, WhatHappenedIsCounted) {
  v1::RunRecord record;
  record.set_state(v1::RUN_STATE_FINISHED);
  record.mutable_start_time()->set_seconds(100);
  record.mutable_end_time()->set_seconds(120);
  record.mutable_counts()->set_passed(7);
  record.mutable_counts()->set_failed(2);
  metrics_->run_ended(record);
  metrics_->run_ended(record);
  metrics_->call_refused("role");
  const auto text = metrics_->text();
  EXPECT_THAT(text, HasSubstr("panicroom_runs_ended_total{state=\"finished\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("panicroom_trials_total{verdict=\"pass\"} 14\n"));
  EXPECT_THAT(text, HasSubstr("panicroom_trials_total{verdict=\"fail\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("panicroom_calls_refused_total{reason=\"role\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("panicroom_run_duration_seconds_bucket{le=\"10\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("panicroom_run_duration_seconds_bucket{le=\"30\"} 2\n"));
}

TEST_F(MetricsTest, AreGivenOverHttp) {
  const auto address = metrics_->expose("127.0.0.1:0");
  ASSERT_TRUE(address) << address.error().message();
  const auto answer = get(*address, "/metrics");
  EXPECT_THAT(answer, HasSubstr("200 OK"));
  EXPECT_THAT(answer, HasSubstr("panicroom_runs{state=\"queued\"} 0"));
  EXPECT_THAT(get(*address, "/etc/passwd"), Not(HasSubstr("200 OK")));
  Metrics second(*store_, watchers_, directory_.path());
  EXPECT_FALSE(second.expose(*address));
}

}  // namespace
}  // namespace panicroom::service
