// The console of the kernel under test, to be looked at when it is dead.
#pragma once

#include <string>
#include <string_view>

namespace panicroom::harness {

// Keeps the last kMost bytes at least, and no more than twice as many: a guest can write without an end.
class FirstConsole {
 public:
  static constexpr std::size_t kMost = 1u << 20;

  void feed(std::string_view bytes) {
    text_ += bytes;
    if (text_.size() > 2 * kMost) text_.erase(0, text_.size() - kMost);
  }
  [[nodiscard]] std::string_view text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace panicroom::harness
