#include "harness/session/kernel_lease.h"

namespace panicroom::harness {

Result<std::shared_ptr<const kernels::KernelImage>> KernelLease::get(
    const StageSink& on_stage, const std::function<void(const kernels::KernelImage& image)>& on_loaded) {
  const std::lock_guard lock(mutex_);
  if (image_) return image_;
  if (refused_) return *refused_;
  auto loaded = source_.load(on_stage);
  if (!loaded) {
    if (loaded.error().kind() != ErrorKind::kCancelled) refused_ = loaded.error();
    return loaded;
  }
  image_ = *std::move(loaded);
  on_loaded(*image_);
  return image_;
}

void KernelLease::done() {
  const std::lock_guard lock(mutex_);
  if (users_ > 0) --users_;
  if (users_ == 0) image_.reset();
}

}  // namespace panicroom::harness
