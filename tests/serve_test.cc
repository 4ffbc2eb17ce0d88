// `panicroom serve` and the commands that use it: the program as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include "base/file.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kScenario = R"(
name: one
workload: {cpu0: syscalls}
timeline:
  - {cpu: 0, at: workload, do: panic, message: x}
expect: {outcome: dumped}
)";

// A server in a process of its own. What its guests' QEMU is started with names `runtime`.
class ServerProcess {
 public:
  ServerProcess(const fs::path& state, const fs::path& runtime, const std::string& options) {
    const auto command = fmt::format("echo $$; XDG_RUNTIME_DIR='{}' exec '{}' serve --state '{}' {} 2>>'{}'",
                                     runtime.string(), program(), state.string(), options, state.string() + ".log");
    pipe_ = ::popen(command.c_str(), "re");
    EXPECT_NE(pipe_, nullptr);
    pid_ = std::stoi(line());
    // It says its address when it listens.
    address_ = line();
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess() { end(SIGTERM); }

  [[nodiscard]] const std::string& address() const { return address_; }
  void end(int signal) {
    if (pipe_ == nullptr) return;
    ::kill(pid_, signal);
    ::pclose(std::exchange(pipe_, nullptr));
  }

 private:
  std::string line() {
    std::string text;
    for (int c = std::fgetc(pipe_); c != EOF && c != '\n'; c = std::fgetc(pipe_)) text += static_cast<char>(c);
    return text;
  }

  std::FILE* pipe_ = nullptr;
  pid_t pid_ = 0;
  std::string address_;
};

class ServiceTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directory(runtime_); }

  std::unique_ptr<ServerProcess> serve(const std::string& options = "") {
    return std::make_unique<ServerProcess>(state_, runtime_, options);
  }
  // `panicroom ARGUMENTS... --server (the server)`.
  CommandResult at(const ServerProcess& server, std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--server", server.address()});
    return panicroom(arguments);
  }

  Scratch scratch_;
  fs::path state_ = scratch_.path() / "s";
  fs::path runtime_ = scratch_.path() / "r";
  fs::path out_ = scratch_.path() / "out";
};

TEST_F(ServiceTest, MistakesAreTheSameAsHere) {
  const auto server = serve();
  const auto bad = scratch_.file("bad.yaml", "name: one\nwhat: 1\n").native();
  EXPECT_EQ(at(*server, {"run", bad}).status, 2);
  const auto good = scratch_.file("good.yaml", kScenario).native();
  const auto refused = at(*server, {"run", good, "--kernel", "/etc/passwd"});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("options.kernels[0]"), HasSubstr("allows no such path")));
  EXPECT_THAT(at(*server, {"runs", "list"}).out, HasSubstr("no runs"));
  EXPECT_EQ(at(*server, {"runs", "show", "1"}).status, 2);
  EXPECT_EQ(at(*server, {"runs", "show", "nonsense"}).status, 2);
}

TEST_F(ServiceTest, AKernelThatCannotBeReadFailsTheRun) {
  fs::create_directory(scratch_.path() / "kernels");
  const auto kernel = scratch_.file("kernels/bzImage", "none").native();
  const auto server = serve("--allow-kernels '" + (scratch_.path() / "kernels").native() + "'");
  const auto scenario = scratch_.file("one.yaml", kScenario).native();
  const auto result = at(*server, {"run", scenario, "--kernel", kernel, "--out", out_.native()});
  const auto here = panicroom({"run", scenario, "--kernel", kernel, "--out", out_.native()});
  EXPECT_EQ(result.status, here.status) << result.err;
  EXPECT_THAT(result.err, HasSubstr(here.err.substr(here.err.rfind("panicroom: error: "))));
  EXPECT_THAT(at(*server, {"runs", "list"}).out, AllOf(HasSubstr("runs/1"), HasSubstr("failed")));
  EXPECT_EQ(at(*server, {"runs", "watch", "1"}).status, here.status);
}

TEST_F(ServiceTest, ScenariosOfTheCatalogueAreNamed) {
  fs::create_directory(scratch_.path() / "kernels");
  const auto kernel = scratch_.file("kernels/bzImage", "none").native();
  const auto server = serve("--catalogue '" + catalogue().string() + "' --allow-kernels '" +
                            (scratch_.path() / "kernels").native() + "'");
  const auto run = [&](const std::string& what) {
    return at(*server, {"run", what, "--kernel", kernel, "--out", out_.native()});
  };
  // It is found: the kernel is what is wrong.
  EXPECT_THAT(run("catalogue:oops.yaml").err, HasSubstr("bzImage"));
  EXPECT_THAT(at(*server, {"runs", "show", "1"}).out, AllOf(HasSubstr("scenarios  1"), HasSubstr("client     local")));
  const auto missing = run("catalogue:none.yaml");
  EXPECT_EQ(missing.status, 2);
  EXPECT_THAT(missing.err, HasSubstr("'none.yaml' is not in the server's catalogue"));
}

TEST_F(ServiceTest, TheLogIsJsonWhereThatIsAskedFor) {
  {
    const auto server = serve("--json-log");
    const auto bad = scratch_.file("one.yaml", kScenario).native();
    EXPECT_EQ(at(*server, {"run", bad, "--kernel", "debian:none/none"}).status, 2);
  }
  std::istringstream log(read_text_file(state_.string() + ".log").value());
  int lines = 0;
  for (std::string line; std::getline(log, line);) {
    // Ctrl-C's own word is for a terminal.
    if (line.empty() || line.starts_with("panicroom: ")) continue;
    ++lines;
    EXPECT_THAT(line, testing::MatchesRegex(R"(\{"time":"[-0-9T:.]+Z","level":"[a-z]+","message":".*\})"));
  }
  EXPECT_GE(lines, 2);
}

TEST_F(ServiceTest, TlsTakesAllItsFiles) {
  const auto result = panicroom({"serve", "--state", state_.native(), "--tls-key", "/nonexistent"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("--tls-certificate, --tls-ca")));
  const auto client = panicroom({"runs", "list", "--server", "192.0.2.1:1"});
  EXPECT_EQ(client.status, 2);
  EXPECT_THAT(client.err, HasSubstr("--tls-certificate"));
}

TEST_F(ServiceTest, ASignalStopsAServerThatHasNothingToDo) {
  auto server = serve();
  server->end(SIGTERM);
  EXPECT_EQ(at(*server, {"runs", "list"}).status, 3);
  EXPECT_EQ(panicroom({"serve", "--state", state_.native(), "--listen", "0.0.0.0:1"}).status, 2);
}

}  // namespace
}  // namespace panicroom::tests
