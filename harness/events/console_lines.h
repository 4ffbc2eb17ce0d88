// Cuts what a guest writes to its console into lines, so that each can be given the time at which it came.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace panicroom::harness {

// One thread. The bytes are the guest's: no line is longer than kMaxLine bytes, the rest of it is left out.
class ConsoleLines {
 public:
  static constexpr std::size_t kMaxLine = 4096;
  // A line without its end, and the offset of its first byte in all that was fed.
  using Sink = std::function<void(std::string_view line, std::uint64_t offset)>;

  explicit ConsoleLines(Sink sink) : sink_(std::move(sink)) {}

  // Calls the sink for each line that ends in these bytes and is not empty.
  void feed(std::string_view bytes);
  // What has not ended yet is a line as well.
  void finish();

 private:
  Sink sink_;
  std::string line_;
  std::uint64_t begin_ = 0;  // Of the line.
  std::uint64_t fed_ = 0;
};

}  // namespace panicroom::harness
