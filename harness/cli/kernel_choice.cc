#include "harness/cli/kernel_choice.h"

#include <fmt/format.h>

namespace panicroom::cli {
Result<kernels::StoredKernel> find_kernel(const std::optional<std::string>& reference, harness::Progress& progress) {
  const auto ref = reference ? TRY(kernels::KernelRef::parse(*reference)) : TRY(kernels::default_reference());
  kernels::KernelStore store(TRY(kernels::default_cache_dir()));
  progress.show({.subject = fmt::format("kernel {}", ref.text())});
  return TRY_CONTEXT(fmt::format("kernel {}", ref.text()), store.ensure(ref, [&](std::string_view line) {
                       progress.show({.subject = fmt::format("kernel {}", ref.text()), .stage = std::string(line)});
                     }));
}

Result<std::shared_ptr<const kernels::KernelImage>> KernelChoice::load(const std::optional<std::string>& reference) {
  const auto stored = TRY(find_kernel(reference, progress_));
  if (const auto found = loaded_.find(stored.image); found != loaded_.end()) return found->second;
  progress_.show({.subject = fmt::format("reading {}", stored.image.native())});
  auto image = std::make_shared<const kernels::KernelImage>(TRY(kernels::KernelImage::load(stored.image)));
  loaded_.emplace(stored.image, image);
  return image;
}

}  // namespace panicroom::cli
