// A kernel under test that is loaded when the first trial needs it and dropped after the last one: an image takes some
// 100 MB, and those of a whole matrix would not fit into memory together.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kernels/image/kernel_image.h"

namespace panicroom::harness {

// Told what is being done: "fetching ... (30.1 MB)".
using StageSink = std::function<void(std::string_view stage)>;

struct KernelSource {
  std::string reference;  // As the user named it.
  // From any thread; those of different sources may be called at the same time.
  std::function<Result<std::shared_ptr<const kernels::KernelImage>>(const StageSink& on_stage)> load;
};

// Thread-safe.
class KernelLease {
 public:
  // `source` is not owned. The image is dropped when done() has been called `users` times.
  KernelLease(const KernelSource& source, std::size_t users) : source_(source), users_(users) {}

  // Loads the kernel if nobody has, then calls `on_loaded`; nobody else gets the image before that returns. An error is
  // remembered: what could not be had once is not tried again, but for kCancelled.
  Result<std::shared_ptr<const kernels::KernelImage>> get(
      const StageSink& on_stage, const std::function<void(const kernels::KernelImage& image)>& on_loaded);
  // One user fewer. Not to be called while that user still has the image.
  void done();

 private:
  const KernelSource& source_;
  std::mutex mutex_;
  std::size_t users_;
  std::shared_ptr<const kernels::KernelImage> image_;
  std::optional<Error> refused_;
};

}  // namespace panicroom::harness
