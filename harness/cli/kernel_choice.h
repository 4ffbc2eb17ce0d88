// From the kernel references of a command line to kernels: found or fetched, and loaded.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "harness/report/progress.h"
#include "harness/session/kernel_lease.h"
#include "kernels/image/kernel_image.h"
#include "kernels/packages/kernel_store.h"

namespace panicroom::cli {

// The kernels that the references name, patterns among them expanded; none: the default reference. What a pattern left
// out is printed to `progress`. See KernelStore::expand().
Result<std::vector<kernels::KernelRef>> choose_kernels(const std::vector<std::string>& references,
                                                       harness::Progress& progress);

// Finds or fetches a kernel. `on_stage` is told what is done, and may be empty. Any thread.
Result<kernels::StoredKernel> find_kernel(const kernels::KernelRef& ref, const harness::StageSink& on_stage);

// The same, and its image loaded.
Result<std::shared_ptr<const kernels::KernelImage>> load_kernel(const kernels::KernelRef& ref,
                                                                const harness::StageSink& on_stage);

// For commands that do one thing at a time: tells `progress` that the kernel is what it is about.
harness::StageSink stages_of(const kernels::KernelRef& ref, harness::Progress& progress);

}  // namespace panicroom::cli
