// Builds vmcores byte by byte for the tests and as seeds for the fuzzer: what a dying 6.1 kernel leaves, and every way
// in which a test wants it to be wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/vmcore/elf_core.h"
#include "agent/vmcore/samples.h"

namespace panicroom::vmcore {

class BufferReader : public Reader {
 public:
  explicit BufferReader(Bytes bytes) : bytes_(bytes) {}
  Result<> read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }

 private:
  Bytes bytes_;
};

// A record of the printk ring buffer.
struct SyntheticRecord {
  std::string text;
  std::uint64_t nanoseconds = 0;
  std::uint64_t state = 2;  // As in printk_ringbuffer.h: 0 reserved, 1 committed, 2 finalized, 3 reusable.
};

struct SyntheticVmcore {
  static constexpr std::uint64_t kKernelVirtual = 0xffffffff9e000000;  // Where the fake kernel's text and data lie.
  static constexpr std::uint64_t kKernelPhysical = 0x1c000000;
  static constexpr std::uint32_t kCountBits = 4;  // 16 descriptors,
  static constexpr std::uint32_t kSizeBits = 9;   // and 512 bytes of text.

  std::vector<int> prstatus_pids = {0, 42};
  bool zero_registers = false;   // Of the last CPU.
  bool kernel_is_mapped = true;  // Or reachable by phys_base alone.
  std::vector<SyntheticRecord> records = {{"Linux version 6.1", 0},
                                          {"Kernel panic - not syncing: first", 1'234'567'000}};
  // Lines that replace (or, if empty, take away) those of the VMCOREINFO.
  std::map<std::string, std::string> info_overrides;
  std::uint64_t first_id = 5;  // Of the oldest record.

  [[nodiscard]] std::vector<std::byte> build() const;
  // Both pages of the fake kernel, its log buffer, and by physical addresses its first page and one that is not there.
  static SamplePlan sample_plan();
};

}  // namespace panicroom::vmcore
