// Many clients and a long queue: what they cost the server's memory.
#include <gmock/gmock.h>

#include <atomic>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "harness/service/server_fixture.h"

namespace panicroom::service {
namespace {

constexpr std::size_t kWatchers = 200;
constexpr std::size_t kQueued = 1000;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PANICROOM_SANITIZED
#endif
#endif
#ifdef PANICROOM_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// What of this process is in memory, server and clients together. Under a sanitizer that says nothing of the service.
std::size_t resident_bytes() {
  std::istringstream statm(read_text_file("/proc/self/statm").value());
  std::size_t size = 0;
  std::size_t resident = 0;
  statm >> size >> resident;
  return resident * 4096;
}

class LoadTest : public ServerTest {};

TEST_F(LoadTest, TwoHundredWatchersAndAThousandQueuedRuns) {
  options_.max_queued = kQueued;
  start();
  const auto running = start_run();
  std::optional<FakeRunner::Waiting> waiting(runner_->wait_for_run());
  // A catalogue's worth of scenarios in each request, as a CI system sends them.
  auto large = request();
  for (int i = 0; i < 20; ++i) {
    auto& file = *large.add_scenario_files();
    file.set_path("more/" + std::to_string(i) + ".yaml");
    file.set_yaml("name: more-" + std::to_string(i) +
                  "\ntimeline:\n  - {cpu: 0, at: panic, do: note}\nexpect: {outcome: dumped}\n# " +
                  std::string(10'000, 'x') + "\n");
  }
  const auto before = resident_bytes();
  const auto added = try_run(large);
  ASSERT_TRUE(added.ok()) << added.error_message();
  for (std::size_t i = 1; i < kQueued; ++i) ASSERT_TRUE(try_run(request()).ok());
  EXPECT_EQ(try_run(request()).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);

  std::atomic<std::size_t> watched = 0;
  std::atomic<std::size_t> whole = 0;
  std::vector<std::jthread> watchers;
  watchers.reserve(kWatchers);
  for (std::size_t i = 0; i < kWatchers; ++i) {
    watchers.emplace_back([&] {
      grpc::ClientContext context;
      v1::WatchRunRequest watch;
      watch.set_name(running);
      const auto reader = runs_->WatchRun(&context, watch);
      v1::WatchRunResponse response;
      std::uint64_t last = 0;
      bool gap = false;
      while (reader->Read(&response)) {
        gap = gap || response.event().sequence() != last + 1;
        last = response.event().sequence();
        if (last == 2) ++watched;
        watched.notify_all();
      }
      if (reader->Finish().ok() && !gap && last == 5) ++whole;
    });
  }
  // The run has written two events and waits.
  for (auto seen = watched.load(); seen < kWatchers; seen = watched.load()) watched.wait(seen);
  const auto grown = resident_bytes() - std::min(before, resident_bytes());
  RecordProperty("grown_mib", std::to_string(grown >> 20));
  if (!kSanitized) {
    EXPECT_LT(grown, std::size_t{200} << 20) << "for 200 watchers and 1,000 queued runs";
  }
  waiting.reset();
  watchers.clear();
  EXPECT_EQ(whole, kWatchers);
  server_->stop();
}

}  // namespace
}  // namespace panicroom::service
