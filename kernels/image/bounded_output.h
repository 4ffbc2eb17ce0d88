// A growing output buffer with a limit, shared by the decompressors. Internal to kernels/image.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace panicroom::kernels {

// Past the limit it goes on to hand out room, so that a decoder can find its end marker there, but keeps nothing and
// says exceeded().
class BoundedOutput {
 public:
  // `expected` is a guess that saves copies: address space is reserved, memory is used only as it is written.
  BoundedOutput(std::size_t limit, std::uint64_t expected) : limit_(limit) {
    bytes_.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(limit, expected)));
  }

  // Where to write next; never empty, and at least `wanted` bytes if that is given. Invalidates what was handed out
  // before.
  std::span<std::byte> room(std::size_t wanted = 1) {
    if (wanted < kStep) wanted = std::min(kStep, std::max(limit_ - size_, wanted));
    bytes_.resize(size_ + wanted);
    return std::span(bytes_).subspan(size_);
  }

  void commit(std::size_t written) {
    if (written > limit_ - size_) {
      exceeded_ = true;
      written = limit_ - size_;
    }
    size_ += written;
  }

  [[nodiscard]] bool exceeded() const { return exceeded_; }
  [[nodiscard]] std::size_t limit() const { return limit_; }
  [[nodiscard]] std::size_t size() const { return size_; }

  std::vector<std::byte> take() && {
    bytes_.resize(size_);
    return std::move(bytes_);
  }

 private:
  static constexpr std::size_t kStep = std::size_t{256} << 10;

  std::size_t limit_;
  std::size_t size_ = 0;
  bool exceeded_ = false;
  std::vector<std::byte> bytes_;
};

}  // namespace panicroom::kernels
