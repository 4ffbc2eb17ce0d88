// Tells what long work is at: fetching a kernel, booting, trial n of m and its stage. On a terminal one status line
// that is rewritten, and is shared by whatever goes on at the same time; elsewhere (CI) a plain line for each new
// subject or trial.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

namespace panicroom::harness {

// What a file descriptor is connected to, as far as output depends on it.
struct Terminal {
  bool tty = false;
  bool colour = false;       // A tty, NO_COLOR (https://no-color.org) unset or empty, TERM neither empty nor "dumb".
  std::size_t columns = 80;  // 80 where it is not known.
};
Terminal inspect_terminal(int fd);

struct Activity {
  std::size_t source = 0;    // Which of the things that go on at the same time tells this.
  std::string subject = {};  // "fetching debian:bookworm/cloud-amd64", "single-panic"
  std::uint32_t trial = 0;   // From 1; 0 if the work does not consist of trials.
  std::uint32_t trials = 0;
  std::string stage = {};  // "booting", "capture-entered"; may be empty.
};

// Thread-safe: several machines may report to one sink.
class Progress {
 public:
  Progress() = default;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  virtual ~Progress() = default;

  // What is being done now. May be called often: on a terminal it replaces what its source said before, elsewhere a
  // mere new stage is silent.
  virtual void show(const Activity& activity) = 0;
  // The source has nothing more to tell.
  virtual void end(std::size_t source) = 0;
  // Prints text that stays: whole lines, each ending in a newline, which the caller has escaped. The status line stays
  // below it.
  virtual void print(std::string_view lines) = 0;
  // Takes the status line away; to be called before anything else writes to the terminal.
  virtual void clear() = 0;
  // The same for what is written while other threads may show something: the status line stays below it. `write` must
  // not call this object.
  virtual void write_above(const std::function<void()>& write) = 0;
};

// `out` (not owned) has to outlive the sink; the destructor clears the status line.
std::unique_ptr<Progress> make_progress(std::ostream& out, const Terminal& terminal);
// One that says nothing.
std::unique_ptr<Progress> make_silent_progress();

}  // namespace panicroom::harness
