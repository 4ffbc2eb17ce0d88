#include "harness/events/console_lines.h"

#include <utility>

namespace panicroom::harness {

void ConsoleLines::feed(std::string_view bytes) {
  for (const char c : bytes) {
    ++fed_;
    if (c == '\n') {
      finish();
      begin_ = fed_;
    } else if (c != '\r' && line_.size() < kMaxLine) {
      line_ += c;
    }
  }
}

void ConsoleLines::finish() {
  const std::string line = std::exchange(line_, {});
  if (!line.empty()) sink_(line, begin_);
}

}  // namespace panicroom::harness
