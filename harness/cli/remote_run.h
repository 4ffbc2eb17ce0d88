// A run that a server carries out, shown as if it were carried out here.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/cli/run_output.h"
#include "harness/report/progress.h"
#include "harness/service/client.h"

namespace panicroom::cli {

// One thread.
class RemoteRun {
 public:
  // All must outlive it.
  RemoteRun(service::Client& client, harness::Progress& progress, RunOutput& output)
      : client_(client), progress_(progress), output_(output) {}

  // Shows the run from its beginning, until it has ended.
  Result<v1::RunEnded> watch(const std::string& name);
  // Its files, into the folder.
  Result<> fetch(const std::string& name, const std::filesystem::path& folder);

 private:
  void show(const v1::RunEvent& event);

  service::Client& client_;
  harness::Progress& progress_;
  RunOutput& output_;
  std::vector<v1::Run> trials_;  // Of the scenario that is being told.
};

// The error of a run that did not come to its end; no error for one that did.
Result<> error_of(const v1::RunEnded& ended);

}  // namespace panicroom::cli
