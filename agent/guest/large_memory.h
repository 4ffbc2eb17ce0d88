// Memory of tens of megabytes, for a while. In huge pages where the kernel has them: where its code is emulated, each
// page that it has to put in place costs some 10 ms.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace panicroom::agent {

// The huge pages come to be with it, and are the kernel's ordinary memory again behind it: one at a time. Movable.
class LargeMemory {
 public:
  // Nothing if there is not so much memory. Zeroed.
  static std::optional<LargeMemory> create(std::size_t bytes);
  LargeMemory(LargeMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})), mapped_(other.mapped_) {}
  LargeMemory& operator=(LargeMemory&&) = delete;
  ~LargeMemory();

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  LargeMemory(std::span<std::byte> bytes, std::size_t mapped) : bytes_(bytes), mapped_(mapped) {}

  std::span<std::byte> bytes_;
  std::size_t mapped_;
};

}  // namespace panicroom::agent
