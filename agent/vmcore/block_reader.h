// Reads a vmcore in blocks and keeps them. A read of /proc/vmcore maps each page of the dead kernel's memory, copies
// and unmaps it, however little is wanted; the kernel log is a thousand little reads of the same hundred pages. Who
// wants a whole page gets that page alone, unless it has been read: samples lie far from each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "agent/vmcore/elf_core.h"

namespace panicroom::vmcore {

// The file below must not change meanwhile, and must outlive this. One thread.
class BlockReader : public Reader {
 public:
  static constexpr std::size_t kBlockBytes = 16UL * 1024;
  static constexpr std::size_t kMostBlocks = 256;  // What is kept at most: 4 MiB of the capture kernel's little memory.

  explicit BlockReader(const Reader& below) : below_(below) {}

  // A page or more that no kept block has, and what lies in a block that cannot be read as a whole, is read by itself.
  Result<> read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  [[nodiscard]] std::uint64_t size() const override { return below_.size(); }

 private:
  // Null if it cannot be read.
  const std::vector<std::byte>* block(std::uint64_t number) const;

  const Reader& below_;
  mutable std::map<std::uint64_t, std::vector<std::byte>> blocks_;
};

}  // namespace panicroom::vmcore
