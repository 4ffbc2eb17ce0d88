// For tests: a program in the place of `panicroom run` that writes a prepared journal and files, and waits in between
// for as long as the test wants it to.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "panicroom/v1/run_events.pb.h"

namespace panicroom::service {

struct FakeRun {
  std::vector<v1::RunEvent> before;  // Written at once.
  std::vector<v1::RunEvent> after;   // Written when the test lets it go on.
  bool waits = true;                 // Whether it waits for that.
  bool stubborn = false;             // Does not end by SIGTERM.
  int exit_status = 0;
};

v1::RunEvent notice(const std::string& text);
v1::RunEvent conclusion(int exit_status, const std::string& error = "", std::uint32_t passed = 0);

class FakeRunner {
 public:
  // Puts its files into the folder, which must be there for as long as it is used.
  explicit FakeRunner(std::filesystem::path folder);

  // For runs that begin from now on. Each of them also writes report.json and sub/console.log.
  void prepare(const FakeRun& run);
  // The command, for ServerOptions::program.
  [[nodiscard]] std::vector<std::string> program() const { return {(folder_ / "runner").string()}; }

  // Returns when a run has begun and waits; lets it go on when what is returned is dropped.
  class Waiting {
   public:
    explicit Waiting(int fd) : fd_(fd) {}
    Waiting(Waiting&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
    Waiting& operator=(Waiting&&) = delete;
    ~Waiting();

   private:
    int fd_;
  };
  [[nodiscard]] Waiting wait_for_run() const;
  // The arguments of the runs that have begun, one run a line.
  [[nodiscard]] std::string arguments() const;

 private:
  std::filesystem::path folder_;
};

}  // namespace panicroom::service
