// `panicroom kernels fetch`: gets kernels into the cache.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "harness/cli/commands.h"
#include "harness/cli/kernel_choice.h"
#include "harness/report/untrusted_text.h"

namespace panicroom::cli {
namespace {

void print_kernel(const kernels::StoredKernel& kernel, bool print_path) {
  if (print_path) {
    fmt::print("{}\n", kernel.image.native());
  } else {
    fmt::print("{} {}\n", kernel.release.empty() ? "kernel" : harness::escape_untrusted(kernel.release),
               kernel.image.native());
  }
  std::fflush(stdout);  // What is there can be used while the rest is being fetched.
}

}  // namespace

// One that cannot be had does not keep the others from being fetched; the worst decides the exit status.
int kernels_fetch(const std::vector<std::string>& references, bool print_path) {
  const auto progress = harness::make_progress(std::cerr, harness::inspect_terminal(STDERR_FILENO));
  const auto refs = choose_kernels(references, *progress);
  if (!refs) {
    progress->clear();
    return fail(refs.error());
  }
  int status = kSuccess;
  for (const auto& ref : *refs) {
    const auto kernel = find_kernel(ref, stages_of(ref, *progress));
    progress->clear();
    if (kernel) {
      print_kernel(*kernel, print_path);
    } else {
      status = std::max(status, fail(kernel.error()));
    }
  }
  return status;
}

}  // namespace panicroom::cli
