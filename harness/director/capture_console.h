// Reads the console after the jump, for what only it tells of a capture kernel: that it started, that it panicked.
#pragma once

#include <deque>
#include <string>
#include <string_view>

namespace panicroom::harness {

// The text is the guest's: a line is cut at kMaxLine bytes, and no more than the last kTailLines are kept.
class CaptureConsole {
 public:
  // What comes from here on is the capture kernel's, but for the last words of the first, which may come late: so
  // nothing counts before the capture kernel's banner.
  void begin() { watching_ = true; }
  [[nodiscard]] bool watching() const { return watching_; }
  void feed(std::string_view bytes);

  [[nodiscard]] bool entered() const { return entered_; }
  [[nodiscard]] bool panicked() const { return !panic_line_.empty(); }
  // The line that says why.
  [[nodiscard]] const std::string& panic_line() const { return panic_line_; }
  // The last whole line that is not empty.
  [[nodiscard]] const std::string& last_line() const { return last_line_; }
  // The capture kernel's last lines, to be put behind a sentence: "; its last lines: A / B"; says so if there are none.
  [[nodiscard]] std::string tail() const;

 private:
  static constexpr std::size_t kMaxLine = 512;
  static constexpr std::size_t kTailLines = 8;
  void take_line();

  bool watching_ = false;
  bool entered_ = false;
  std::string line_;
  std::string last_line_;
  std::string panic_line_;
  std::deque<std::string> tail_;
};

}  // namespace panicroom::harness
