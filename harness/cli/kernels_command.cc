// `panicroom kernels`: what is in the cache, getting more of it there, and what is known of one kernel.
#include <fmt/core.h>
#include <unistd.h>

#include <iostream>

#include "harness/cli/commands.h"
#include "harness/cli/kernel_choice.h"
#include "kernels/points/named_points.h"
#include "kernels/points/resolver.h"

namespace panicroom::cli {
namespace {

std::unique_ptr<harness::Progress> progress_on_stderr() {
  return harness::make_progress(std::cerr, harness::inspect_terminal(STDERR_FILENO));
}

Result<> list() {
  const kernels::KernelStore store(TRY(kernels::default_cache_dir()));
  const auto cached = store.cached();
  if (cached.empty()) fmt::print("no kernels are cached; panicroom kernels fetch gets the default one\n");
  for (const auto& kernel : cached) {
    fmt::print("{:<36} {:<24} {}\n", kernel.release, kernel.package_version, kernel.image.native());
  }
  return {};
}

Result<> fetch(std::vector<std::string> references, bool print_path) {
  const auto progress = progress_on_stderr();
  std::vector<std::optional<std::string>> wanted(references.begin(), references.end());
  if (wanted.empty()) wanted.emplace_back(std::nullopt);
  for (const auto& reference : wanted) {
    const auto kernel = TRY(find_kernel(reference, *progress));
    progress->clear();
    if (print_path) {
      fmt::print("{}\n", kernel.image.native());
    } else {
      fmt::print("{} {}\n", kernel.release.empty() ? "kernel" : kernel.release, kernel.image.native());
    }
  }
  return {};
}

void print_point(const kernels::KernelImage& kernel, const kernels::NamedPointEntry& entry) {
  const auto point = kernels::resolve_named_point(kernel, entry);
  if (!point) {
    fmt::print("  {:<26} not found: {}\n", entry.name, point.error().message());
    return;
  }
  for (const LinkAddress at : point->at) {
    const auto place = kernel.symbols().containing(at);
    fmt::print("  {:<26} {} {}+{:#x} ({})\n", entry.name, at, place ? place->symbol.name : "?",
               place ? place->offset : 0, point->how);
  }
}

Result<> inspect(const std::string& reference) {
  const auto progress = progress_on_stderr();
  KernelChoice choice(*progress);
  const auto kernel = TRY(choice.load(reference));
  progress->clear();
  fmt::print("release       {}\n", kernel->release());
  fmt::print("banner        {}\n", kernel->banner());
  fmt::print("image         {}\n", kernel->path().native());
  fmt::print("compression   {}\n", kernels::compression_name(kernel->compression()));
  fmt::print("symbols       {} ({})\n", kernel->symbols().size(),
             kernels::kallsyms_layout_name(kernel->kallsyms_layout()));
  fmt::print("BTF           {}\n", kernel->elf().btf() ? "yes" : "no");
  const auto stores = kernels::icr_stores(*kernel);
  fmt::print("ICR stores    {}\n", stores ? fmt::format("{}", stores->size()) : stores.error().message());
  fmt::print("points\n");
  for (const auto& entry : kernels::kNamedPoints) print_point(*kernel, entry);
  return {};
}

int status_of(const Result<>& result) { return result ? kSuccess : fail(result.error()); }

}  // namespace

int kernels_list() { return status_of(list()); }
int kernels_fetch(const std::vector<std::string>& references, bool print_path) {
  return status_of(fetch(references, print_path));
}
int kernels_inspect(const std::string& reference) { return status_of(inspect(reference)); }

}  // namespace panicroom::cli
