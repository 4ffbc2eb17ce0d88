// From the kernel references of a command line to loaded images.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/report/progress.h"
#include "kernels/image/kernel_image.h"
#include "kernels/packages/kernel_store.h"

namespace panicroom::cli {

// Finds or fetches a kernel; nothing: the default reference. What goes on is told to `progress`.
Result<kernels::StoredKernel> find_kernel(const std::optional<std::string>& reference, harness::Progress& progress);

// The same, and its image loaded. Two references to one file give one image.
class KernelChoice {
 public:
  explicit KernelChoice(harness::Progress& progress) : progress_(progress) {}
  Result<std::shared_ptr<const kernels::KernelImage>> load(const std::optional<std::string>& reference);

 private:
  harness::Progress& progress_;
  std::map<std::filesystem::path, std::shared_ptr<const kernels::KernelImage>> loaded_;
};

}  // namespace panicroom::cli
