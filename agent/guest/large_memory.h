// Memory of tens of megabytes, for a while. In huge pages where the kernel has them: where its code is emulated, each
// page that it has to put in place costs some 10 ms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace panicroom::agent {

// The huge pages come to be with it, and are the kernel's ordinary memory again behind it; those that were there before
// stay. One at a time. Movable.
class LargeMemory {
 public:
  // Nothing if there is not so much memory. Zeroed.
  static std::optional<LargeMemory> create(std::size_t bytes);
  LargeMemory(LargeMemory&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), mapped_(other.mapped_), others_(other.others_) {}
  LargeMemory& operator=(LargeMemory&&) = delete;
  ~LargeMemory();

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  LargeMemory(std::span<std::byte> bytes, std::size_t mapped, std::optional<std::uint64_t> others)
      : bytes_(bytes), mapped_(mapped), others_(others) {}

  std::span<std::byte> bytes_;
  std::size_t mapped_;
  std::optional<std::uint64_t> others_;  // The huge pages to leave behind; nothing if none were made.
};

}  // namespace panicroom::agent
