#include "harness/events/journalled_progress.h"

namespace panicroom::harness {
namespace {

class JournalledProgress final : public Progress {
 public:
  JournalledProgress(Progress& shown, RunJournal& journal) : shown_(shown), journal_(journal) {}

  void show(const Activity& activity) override {
    v1::RunEvent event;
    auto& told = *event.mutable_activity();
    told.set_source(static_cast<std::uint32_t>(activity.source));
    told.set_subject(activity.subject);
    told.set_trial(activity.trial);
    told.set_trials(activity.trials);
    told.set_stage(activity.stage);
    journal_.write(std::move(event));
    shown_.show(activity);
  }

  void end(std::size_t source) override {
    v1::RunEvent event;
    event.mutable_activity()->set_source(static_cast<std::uint32_t>(source));
    journal_.write(std::move(event));
    shown_.end(source);
  }

  void print(std::string_view lines) override {
    v1::RunEvent event;
    const auto end = lines.find_last_not_of('\n');
    event.mutable_notice()->set_text(std::string(lines.substr(0, end == std::string_view::npos ? 0 : end + 1)));
    journal_.write(std::move(event));
    shown_.print(lines);
  }

  void clear() override { shown_.clear(); }
  void write_above(const std::function<void()>& write) override { shown_.write_above(write); }

 private:
  Progress& shown_;
  RunJournal& journal_;
};

}  // namespace

std::unique_ptr<Progress> make_journalled_progress(Progress& shown, RunJournal& journal) {
  return std::make_unique<JournalledProgress>(shown, journal);
}

}  // namespace panicroom::harness
