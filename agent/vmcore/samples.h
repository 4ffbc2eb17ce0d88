// Which parts of the dead kernel's memory are compared, and how. The same code takes the samples on both sides: on the
// host from the machine's memory at the jump into the capture kernel, in the capture kernel from /proc/vmcore. Both
// know the plan; what it leaves open (where a stack or the log buffer is) both find in the memory and registers that
// they have before them. So equal memory gives equal samples, and nobody has to ask anybody.
//
// A sample is sent as the CRC-32 of each kBlockBytes of it: enough to see any change, to say where it is, and small.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/vmcore/page_walk.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::vmcore {

inline constexpr std::size_t kBlockBytes = 1024;

enum class SampleKind : std::uint8_t {
  kKernel = 1,     // A page of the kernel's image; `address` is virtual. So is that of kLogBuffer and kStack.
  kLogBuffer = 2,  // A page of printk's text.
  kStack = 3,      // From a CPU's RSP to the end of the page; only where RSP is the kernel's.
  kPageTable = 4,  // A table on the way to a kernel address, without accessed and dirty bits; `address` is physical.
  kPhysical = 5,   // Any page of the machine; `address` is physical.
  kWorkload = 6,   // A page that a workload of the agent's writes; `address` is physical.
};
// "kernel", "log buffer" and so on.
std::string_view name(SampleKind kind);

// What the host decides before the machine boots. All counts are bounded by kMaxSamples.
struct SamplePlan {
  // A pointer to a buffer and its length (32 bits), both variables of the kernel's.
  struct Buffer {
    LinkAddress pointer;
    LinkAddress length;
  };

  std::vector<LinkAddress> kernel_pages;
  std::vector<Gpa> physical_pages;
  std::optional<Buffer> log_buffer;        // Of its first kMaxLogPages pages.
  std::optional<LinkAddress> page_tables;  // The kernel's own top-level table; nothing: no tables are looked at.
};

inline constexpr std::size_t kMaxSamples = 4096;  // Of one kind.
inline constexpr std::size_t kMaxLogPages = 64;
inline constexpr std::size_t kLogStride = 2;  // Of the log buffer every second page.

struct Sample {
  SampleKind kind = SampleKind::kKernel;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::vector<std::uint32_t> blocks;  // CRC-32 of each kBlockBytes, the last one may be shorter. Empty if unreadable.
  std::string unreadable;             // Why it could not be read.
};

// A machine's memory, alive or dead.
class Memory {
 public:
  virtual ~Memory() = default;
  // By the kernel's own page tables.
  virtual Result<> read_virtual(Gva at, std::span<std::byte> out) = 0;
  virtual Result<> read_physical(Gpa at, std::span<std::byte> out) = 0;
};

// What of the plan's open ends the side that takes the samples knows for itself.
struct SampleContext {
  KaslrSlide slide;
  std::vector<std::uint64_t> stack_pointers;  // The RSP of each CPU that is known.
  std::vector<Gpa> workload_pages;            // As the agent in the first kernel found them.
  std::optional<Gpa> top_table;               // Where plan.page_tables is.
  unsigned paging_levels = 4;
};

using TakeSample = std::function<void(const Sample& sample)>;
// Never fails: what cannot be read is a sample that says so.
void take_samples(const SamplePlan& plan, const SampleContext& context, Memory& memory, const TakeSample& take);

std::vector<std::uint32_t> block_checksums(Bytes bytes);

// What a workload leaves in its page: the number of its passes in the first word, and from each of the last passes a
// word that only that pass on that CPU can have written.
inline constexpr std::size_t kPatternWords = kPageBytes / sizeof(std::uint64_t);
// The word that pass `pass` (from 1) of the workload on `cpu` writes, and where.
constexpr std::uint64_t pattern_word(VcpuId cpu, std::uint64_t pass) {
  // SplitMix64's finaliser (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
  std::uint64_t z = (static_cast<std::uint64_t>(index(cpu)) << 48) + pass * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
// The slots begin behind the page's first kPatternHeaderWords.
inline constexpr std::size_t kPatternHeaderWords = 8;
constexpr std::size_t pattern_slot(std::uint64_t pass) {
  return kPatternHeaderWords + pass % (kPatternWords - kPatternHeaderWords);
}

}  // namespace panicroom::vmcore
