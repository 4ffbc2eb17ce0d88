// Runs a program to its end. For programs whose output is small and that are known to end (apt-get, qemu-img).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace panicroom {

struct ProcessOutput {
  int exit_status = 0;  // 128 + the signal's number if a signal ended it.
  std::string out;
  std::string err;
};

// argv[0] is searched for in PATH; `environment` is laid over the caller's; standard input is the file `input`. kHost
// if it cannot be started, naming it; a program that ran and failed is not an error here: look at exit_status.
Result<ProcessOutput> run_process(const std::vector<std::string>& argv,
                                  const std::map<std::string, std::string>& environment = {},
                                  const std::filesystem::path& input = "/dev/null");

}  // namespace panicroom
