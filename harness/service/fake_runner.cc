#include "harness/service/fake_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/file.h"
#include "harness/events/run_journal.h"

namespace panicroom::service {
namespace {

// A fifo's reader waits until somebody opens it for writing, and then until that one closes it.
constexpr std::string_view kScript = R"(#!/bin/sh
here='{folder}'
for argument; do
  case $argument in
    --out=*) out=${{argument#--out=}} ;;
    --journal=*) journal=${{argument#--journal=}} ;;
  esac
done
echo "$@" >>"$here/arguments"
mkdir -p "$out/sub"
echo '{{}}' >"$out/report.json"
echo 'hello from the guest' >"$out/sub/console.log"
cat "$here/before" >>"$journal"
{trap}
{wait}
cat "$here/after" >>"$journal"
exit {status}
)";

}  // namespace

v1::RunEvent notice(const std::string& text) {
  v1::RunEvent event;
  event.mutable_notice()->set_text(text);
  return event;
}

v1::RunEvent conclusion(int exit_status, const std::string& error, std::uint32_t passed) {
  v1::RunEvent event;
  event.mutable_conclusion()->set_exit_status(exit_status);
  event.mutable_conclusion()->set_error(error);
  event.mutable_conclusion()->mutable_counts()->set_passed(passed);
  return event;
}

FakeRunner::FakeRunner(std::filesystem::path folder) : folder_(std::move(folder)) {
  EXPECT_EQ(::mkfifo((folder_ / "gate").c_str(), 0600), 0);
}

void FakeRunner::prepare(const FakeRun& run) {
  const auto whole = folder_ / "whole";
  std::size_t split = 0;
  {
    const auto journal = harness::RunJournal::create(whole);
    ASSERT_TRUE(journal);
    for (const auto& event : run.before) (*journal)->write(event);
    split = std::filesystem::file_size(whole);
    for (const auto& event : run.after) (*journal)->write(event);
  }
  const auto bytes = read_text_file(whole);
  ASSERT_TRUE(bytes);
  ASSERT_TRUE(write_file(folder_ / "before", bytes->substr(0, split)));
  ASSERT_TRUE(write_file(folder_ / "after", bytes->substr(split)));
  const auto script = fmt::format(
      kScript, fmt::arg("folder", folder_.string()), fmt::arg("trap", run.stubborn ? "trap '' TERM" : ""),
      fmt::arg("wait", run.waits ? "read -r line <\"$here/gate\"" : ""), fmt::arg("status", run.exit_status));
  ASSERT_TRUE(write_file(folder_ / "runner", script));
  ASSERT_EQ(::chmod((folder_ / "runner").c_str(), 0700), 0);
}

FakeRunner::Waiting FakeRunner::wait_for_run() const {
  // Opens when the run opens the other end.
  const int fd = ::open((folder_ / "gate").c_str(), O_WRONLY | O_CLOEXEC);
  EXPECT_GE(fd, 0);
  return Waiting(fd);
}

FakeRunner::Waiting::~Waiting() {
  if (fd_ >= 0) ::close(fd_);
}

std::string FakeRunner::arguments() const {
  auto text = read_text_file(folder_ / "arguments");
  return text ? *std::move(text) : std::string();
}

}  // namespace panicroom::service
