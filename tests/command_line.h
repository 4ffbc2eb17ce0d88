// Runs the built `panicroom` as a user does, for the tests that cross all layers.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/subprocess.h"
#include "base/testing/temporary_directory.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::tests {

// The kernel that tests run on: the file that PANICROOM_TEST_KERNEL names. Nothing: the test has to skip, saying so.
std::optional<std::filesystem::path> test_kernel();
// The reason to skip for: what `./panicroom test` says why there is none, or how to name one.
std::string no_kernel();

// The repository's scenarios/ folder.
std::filesystem::path catalogue();

// A new folder for the test, removed with everything in it at the end.
class Scratch : public TemporaryDirectory {
 public:
  // Writes a file into it.
  std::filesystem::path file(const std::string& name, std::string_view content) const;
};

struct CommandResult {
  int status = -1;
  std::string out;
  std::string err;
  v1::Report report;  // `out_folder`/report.json, if the command wrote one.
};

// `panicroom run ARGUMENTS... --kernel (the test kernel) --out (a folder in scratch)`.
CommandResult run_scenarios(const Scratch& scratch, std::vector<std::string> arguments);
// `panicroom ARGUMENTS...` with the environment laid over the test's own.
CommandResult panicroom(const std::vector<std::string>& arguments,
                        const std::map<std::string, std::string>& environment = {});

// The built program.
std::string program();

// How many processes have this text in one of their arguments.
std::size_t processes_with(const std::string& text);

}  // namespace panicroom::tests
