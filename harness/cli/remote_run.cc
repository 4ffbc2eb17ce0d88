#include "harness/cli/remote_run.h"

#include <fmt/format.h>

#include "harness/cli/commands.h"
#include "harness/report/untrusted_text.h"

namespace panicroom::cli {

Result<v1::RunEnded> RemoteRun::watch(const std::string& name) {
  progress_.show({.subject = name, .stage = "waiting for the runs before it"});
  auto ended = client_.watch_run(
      name, [this](const v1::RunEvent& event) { show(event); },
      [this](std::string_view what) {
        progress_.print(fmt::format("panicroom: the connection is lost ({}); going on when it is back\n",
                                    harness::escape_untrusted(what)));
      });
  progress_.clear();
  return ended;
}

void RemoteRun::show(const v1::RunEvent& event) {
  if (event.has_activity()) {
    const auto& activity = event.activity();
    if (activity.subject().empty()) return progress_.end(activity.source());
    progress_.show({.source = activity.source(),
                    .subject = activity.subject(),
                    .trial = activity.trial(),
                    .trials = activity.trials(),
                    .stage = activity.stage()});
  } else if (event.has_notice()) {
    progress_.print(harness::escape_untrusted(event.notice().text(), harness::Newlines::kKeep) + "\n");
  } else if (event.has_begun()) {
    progress_.clear();
  } else if (event.has_trial_decided()) {
    trials_.push_back(event.trial_decided().run());
    if (trials_.size() < event.trial_decided().trials()) return;
    harness::RunGroup group;
    for (const auto& trial : trials_) group.push_back(&trial);
    output_.scenario(group);
    trials_.clear();
  }
}

Result<> RemoteRun::fetch(const std::string& name, const std::filesystem::path& folder) {
  auto fetched = client_.fetch(name, folder, [this](std::string_view path) {
    progress_.show({.subject = "fetching the run's files", .stage = std::string(path)});
  });
  progress_.clear();
  return fetched;
}

Result<> error_of(const v1::RunEnded& ended) {
  if (ended.state() == v1::RUN_STATE_FINISHED) return {};
  const auto& text = ended.error();
  switch (ended.exit_status()) {
    case kWrongInput:
      return Error(ErrorKind::kInvalidInput, text);
    case kInterrupted:
      return Error(ErrorKind::kCancelled, text);
    default:
      return Error(ErrorKind::kHost, text);
  }
}

}  // namespace panicroom::cli
