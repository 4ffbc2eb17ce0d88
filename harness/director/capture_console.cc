#include "harness/director/capture_console.h"

namespace panicroom::harness {

void CaptureConsole::take_line() {
  if (line_.find("Linux version ") != std::string::npos) entered_ = true;
  if (entered_ && panic_line_.empty() && line_.find("Kernel panic - not syncing") != std::string::npos)
    panic_line_ = line_;
  if (entered_) {
    tail_.push_back(line_);
    if (tail_.size() > kTailLines) tail_.pop_front();
  }
  last_line_ = std::move(line_);
  line_.clear();
}

std::string CaptureConsole::tail() const {
  if (tail_.empty()) return "; it has said nothing";
  std::string text = "; its last lines: ";
  for (const auto& line : tail_) text += (&line == &tail_.front() ? "" : " / ") + line;
  return text;
}

void CaptureConsole::feed(std::string_view bytes) {
  if (!watching_) return;
  for (const char c : bytes) {
    if (c == '\n') {
      if (!line_.empty()) take_line();
    } else if (c != '\r' && line_.size() < kMaxLine) {
      line_ += c;
    }
  }
}

}  // namespace panicroom::harness
