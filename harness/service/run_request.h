// What a client asks for, checked and laid down as files. Clients are hostile: nothing is taken from them that is not
// bounded, and no path of theirs means one of the server's unless the operator allowed its folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "panicroom/v1/run_service.pb.h"

namespace panicroom::service {

struct RequestPolicy {
  std::filesystem::path catalogue;                    // Empty: the server has none.
  std::vector<std::filesystem::path> kernel_folders;  // Kernels below them may be named by their paths.
  std::size_t max_files = 2000;                       // Scenario files, those of the catalogue included.
  std::size_t max_kernels = 32;                       // References and patterns.
  std::uint64_t max_trials = 10'000;                  // Scenarios times kernels times repeats.
  std::uint32_t max_vcpus = 64;                       // Of all machines at a time.
  std::uint64_t max_memory_bytes = std::uint64_t{16} << 30;
};

// One thing that is wrong: see BadRequest in error_details.proto.
struct Violation {
  std::string field;
  std::string description;

  friend bool operator==(const Violation&, const Violation&) = default;
};

// What is wrong with a client's reference or pattern of kernels, for people; nothing if it may be had. Whether there is
// such a kernel is not looked at.
std::optional<std::string> kernel_violation(const std::string& reference, const RequestPolicy& policy);
// "", "auto", "kvm" or "qemu".
bool is_engine_word(std::string_view word);

struct CheckedRequest {
  std::vector<Violation> violations;  // At most 100. Empty: everything is as it should be.
  std::uint32_t scenarios = 0;        // That are run on each kernel.
  std::uint32_t vcpus = 0;            // Of all machines at a time, at the most.
  std::uint64_t memory_bytes = 0;     // As well.
};

// Checks everything about the request but whether its kernels can be had, and writes its scenario files below `folder`,
// which must be empty or not there, and beside it a list of those that were named themselves. After violations the
// folder is of no use. kHost if it cannot be written.
Result<CheckedRequest> stage_run(const v1::StartRunRequest& request, const RequestPolicy& policy,
                                 const std::filesystem::path& folder);

// What `panicroom run` is to be given, with a staged folder as its working directory: the paths of its scenarios, and
// the options.
std::vector<std::string> run_arguments(const v1::RunOptions& options, const std::filesystem::path& folder);

}  // namespace panicroom::service
