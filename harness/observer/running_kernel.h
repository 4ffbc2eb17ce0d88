// A kernel image and where it runs: turns link addresses into running ones and running ones into names.
#pragma once

#include <optional>
#include <string>

#include "base/address.h"
#include "kernels/image/kernel_image.h"

namespace panicroom::harness {

// A view: the image must outlive it. Immutable, thread-safe.
class RunningKernel {
 public:
  RunningKernel(const kernels::KernelImage& image, KaslrSlide slide) : image_(&image), slide_(slide) {}

  [[nodiscard]] const kernels::KernelImage& image() const { return *image_; }
  [[nodiscard]] KaslrSlide slide() const { return slide_; }
  [[nodiscard]] Gva running(LinkAddress address) const { return address + slide_; }

  [[nodiscard]] bool in_text(Gva address) const;
  // "panic+0x3b" for an address in the kernel's text, nothing for any other.
  [[nodiscard]] std::optional<std::string> symbolise(Gva address) const;
  // True if a call instruction ends at `address`: it may be a return address. For addresses outside the text, false.
  [[nodiscard]] bool follows_call(Gva address) const;

 private:
  const kernels::KernelImage* image_;
  KaslrSlide slide_;
};

}  // namespace panicroom::harness
