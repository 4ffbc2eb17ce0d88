#include "harness/cli/kernel_choice.h"

#include <fmt/format.h>

#include "harness/report/untrusted_text.h"

namespace panicroom::cli {

Result<std::vector<kernels::KernelRef>> choose_kernels(const std::vector<std::string>& references,
                                                       harness::Progress& progress) {
  if (references.empty()) return std::vector<kernels::KernelRef>{TRY(kernels::default_reference())};
  kernels::KernelStore store(TRY(kernels::default_cache_dir()));
  auto expansion = TRY(store.expand(references, [&](std::string_view line) {
    progress.show({.subject = "looking for kernels", .stage = std::string(line)});
  }));
  for (const auto& notice : expansion.notices) {
    progress.print(fmt::format("panicroom: {}\n", harness::escape_untrusted(notice)));
  }
  return std::move(expansion.kernels);
}

Result<kernels::StoredKernel> find_kernel(const kernels::KernelRef& ref, const harness::StageSink& on_stage) {
  kernels::KernelStore store(TRY(kernels::default_cache_dir()));
  return TRY_CONTEXT(fmt::format("kernel {}", ref.text()), store.ensure(ref, on_stage));
}

Result<std::shared_ptr<const kernels::KernelImage>> load_kernel(const kernels::KernelRef& ref,
                                                                const harness::StageSink& on_stage) {
  const auto stored = TRY(find_kernel(ref, on_stage));
  kernels::tell(on_stage, "reading it");
  return std::make_shared<const kernels::KernelImage>(TRY(kernels::KernelImage::load(stored.image)));
}

harness::StageSink stages_of(const kernels::KernelRef& ref, harness::Progress& progress) {
  return [&progress, subject = fmt::format("kernel {}", ref.text())](std::string_view stage) {
    progress.show({.subject = subject, .stage = std::string(stage)});
  };
}

}  // namespace panicroom::cli
