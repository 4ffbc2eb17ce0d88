#include "agent/guest/large_memory.h"

#include <sys/mman.h>

#include <string>

#include "agent/guest/pseudo_files.h"

namespace panicroom::agent {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Documentation/admin-guide/mm/hugetlbpage.rst: so many pages of the default size, which on x86-64 is 2 MiB.
constexpr const char* kHugePages = "/proc/sys/vm/nr_hugepages";

void* map(std::size_t bytes, int flags) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

bool set_huge_pages(std::uint64_t pages) { return write_small_file(kHugePages, std::to_string(pages).c_str()); }

}  // namespace

std::optional<LargeMemory> LargeMemory::create(std::size_t bytes) {
  if (bytes == 0) return LargeMemory({}, 0, std::nullopt);
  const std::size_t pages = (bytes + kHugePage - 1) / kHugePage;
  const std::size_t mapped = pages * kHugePage;
  auto others = read_number(kHugePages);
  void* at = nullptr;
  if (others && set_huge_pages(*others + pages)) {
    at = map(mapped, MAP_HUGETLB);
    // It made fewer, or they are of another size.
    if (at == nullptr) set_huge_pages(*others);
  }
  if (at == nullptr) {
    others.reset();
    at = map(mapped, 0);
  }
  if (at == nullptr) return std::nullopt;
  return LargeMemory(std::span(static_cast<std::byte*>(at), bytes), mapped, others);
}

LargeMemory::~LargeMemory() {
  if (bytes_.empty()) return;
  munmap(bytes_.data(), mapped_);
  if (others_) set_huge_pages(*others_);
}

}  // namespace panicroom::agent
