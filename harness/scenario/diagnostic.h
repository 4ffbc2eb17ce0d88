// What is wrong with scenario files, and where: collected, so that a user mends all mistakes in one go.
#pragma once

#include <fmt/format.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace panicroom::harness {

// Both from 1; columns count bytes. Line 0 means the file as a whole.
struct Position {
  int line = 0;
  int column = 0;
  friend auto operator<=>(const Position&, const Position&) = default;  // NOLINT(modernize-use-nullptr): it is none.
};

struct Diagnostic {
  std::string file = {};
  int line = 0;              // From 1; 0: the file (or folder) as a whole.
  int column = 0;            // From 1, in bytes.
  std::string message = {};  // Printable, whatever the file holds.

  friend bool operator==(const Diagnostic&, const Diagnostic&) = default;
};

// As compilers write them, one a line: "file:line:column: error: message".
std::string render(std::span<const Diagnostic> diagnostics);

// What a message may repeat of a file's text: in single quotes, shortened, and without anything that a terminal obeys.
std::string shown(std::string_view text);

// The mistakes of one file. The arguments of add() are fmt's; texts out of the file go through shown().
class Diagnostics {
 public:
  explicit Diagnostics(std::string file) : file_(std::move(file)) {}

  template <typename... Args>
  void add(Position at, fmt::format_string<Args...> format, Args&&... args) {
    add_message(at, fmt::format(format, std::forward<Args>(args)...));
  }
  [[nodiscard]] std::size_t count() const { return found_.size(); }
  // In the order of the file's lines.
  [[nodiscard]] std::vector<Diagnostic> take() &&;

 private:
  void add_message(Position at, std::string_view message);

  std::string file_;
  std::vector<Diagnostic> found_;
};

}  // namespace panicroom::harness
