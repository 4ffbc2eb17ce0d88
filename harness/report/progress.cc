#include "harness/report/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "harness/report/untrusted_text.h"

namespace panicroom::harness {
namespace {

std::string without_stage(const Activity& activity) {
  const std::string subject = escape_untrusted(activity.subject);
  return activity.trial == 0 || activity.trials <= 1
             ? subject
             : fmt::format("{}: trial {} of {}", subject, activity.trial, activity.trials);
}

class StatusLine final : public Progress {
 public:
  StatusLine(std::ostream& out, std::size_t columns) : out_(out), columns_(columns) {}
  ~StatusLine() override { erase(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  void show(const Activity& activity) override {
    const std::lock_guard lock(mutex_);
    std::string text = without_stage(activity);
    if (!activity.stage.empty()) text += ": " + escape_untrusted(activity.stage);
    // A tab fills a number of columns that depends on where it stands.
    for (char& c : text) {
      if (c == '\t') c = ' ';
    }
    sources_[activity.source] = std::move(text);
    update();
  }

  void end(std::size_t source) override {
    const std::lock_guard lock(mutex_);
    sources_.erase(source);
    update();
  }

  void print(std::string_view lines) override {
    const std::lock_guard lock(mutex_);
    if (!status_.empty()) out_ << kErase;
    out_ << lines << status_ << std::flush;
  }

  void clear() override {
    const std::lock_guard lock(mutex_);
    erase();
    sources_.clear();
  }

  void write_above(const std::function<void()>& write) override {
    const std::lock_guard lock(mutex_);
    if (!status_.empty()) out_ << kErase << std::flush;
    write();
    out_ << status_ << std::flush;
  }

 private:
  static constexpr std::string_view kErase = "\r\x1b[K";

  // Each source has its part of the line; the last column is left free, because some terminals wrap when it is written.
  void update() {
    const std::size_t width = columns_ > 1 ? columns_ - 1 : 1;
    std::string line;
    if (!sources_.empty()) {
      const std::size_t gaps = kBetween.size() * (sources_.size() - 1);
      const std::size_t share = width > gaps ? std::max((width - gaps) / sources_.size(), std::size_t{1}) : 1;
      for (const auto& [source, text] : sources_) {
        if (!line.empty()) line += kBetween;
        line += shorten(text, share);
      }
      line = shorten(line, width);
    }
    if (line == status_) return;
    status_ = std::move(line);
    out_ << kErase << status_ << std::flush;
  }

  void erase() {
    if (!status_.empty()) out_ << kErase << std::flush;
    status_.clear();
  }

  static constexpr std::string_view kBetween = " | ";

  std::mutex mutex_;
  std::ostream& out_;
  std::size_t columns_;
  std::map<std::size_t, std::string> sources_;
  std::string status_;
};

class PlainLines final : public Progress {
 public:
  explicit PlainLines(std::ostream& out) : out_(out) {}

  void show(const Activity& activity) override {
    const std::lock_guard lock(mutex_);
    std::string text = without_stage(activity);
    auto& last = last_[activity.source];
    if (text == last) return;
    last = std::move(text);
    out_ << last << '\n' << std::flush;
  }

  void end(std::size_t source) override {
    const std::lock_guard lock(mutex_);
    last_.erase(source);
  }

  void print(std::string_view lines) override {
    const std::lock_guard lock(mutex_);
    out_ << lines << std::flush;
  }

  void clear() override {}

  void write_above(const std::function<void()>& write) override {
    const std::lock_guard lock(mutex_);
    write();
  }

 private:
  std::mutex mutex_;
  std::ostream& out_;
  std::map<std::size_t, std::string> last_;  // By source.
};

class Silent final : public Progress {
 public:
  void show(const Activity& /*activity*/) override {}
  void end(std::size_t /*source*/) override {}
  void print(std::string_view /*lines*/) override {}
  void clear() override {}
  void write_above(const std::function<void()>& write) override {
    const std::lock_guard lock(mutex_);
    write();
  }

 private:
  std::mutex mutex_;
};

}  // namespace

Terminal inspect_terminal(int fd) {
  Terminal terminal;
  terminal.tty = ::isatty(fd) == 1;
  if (!terminal.tty) return terminal;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool plain_term = term == nullptr || *term == '\0' || std::string_view(term) == "dumb";
  terminal.colour = (no_color == nullptr || *no_color == '\0') && !plain_term;
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) terminal.columns = size.ws_col;
  return terminal;
}

std::unique_ptr<Progress> make_progress(std::ostream& out, const Terminal& terminal) {
  if (terminal.tty) return std::make_unique<StatusLine>(out, terminal.columns);
  return std::make_unique<PlainLines>(out);
}

std::unique_ptr<Progress> make_silent_progress() { return std::make_unique<Silent>(); }

}  // namespace panicroom::harness
