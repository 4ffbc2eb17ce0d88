#include "harness/director/capture_console.h"

namespace panicroom::harness {

void CaptureConsole::take_line() {
  if (line_.find("Linux version ") != std::string::npos) entered_ = true;
  if (entered_ && panic_line_.empty() && line_.find("Kernel panic - not syncing") != std::string::npos)
    panic_line_ = line_;
  last_line_ = std::move(line_);
  line_.clear();
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
