#include "agent/guest/page_frames.h"

#include <fcntl.h>
#include <unistd.h>

#include "agent/guest/pseudo_files.h"
#include "agent/vmcore/page_walk.h"
#include "base/file.h"

namespace panicroom::agent {

// Documentation/admin-guide/mm/pagemap.rst: 64 bits for each virtual page, of which bit 63 says that the page is
// present and bits 0 to 54 are its frame number.
std::vector<Gpa> page_frames(const void* begin, std::size_t pages) {
  const UniqueFd map(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!map) return {};
  std::vector<std::uint64_t> entries(pages);
  const auto size = static_cast<ssize_t>(pages * sizeof(std::uint64_t));
  const auto at = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(begin) / vmcore::kPageBytes * 8);
  if (::pread(map.get(), entries.data(), static_cast<std::size_t>(size), at) != size) return {};
  std::vector<Gpa> frames;
  for (const std::uint64_t entry : entries) {
    const std::uint64_t frame = entry & ((std::uint64_t{1} << 55) - 1);
    if ((entry >> 63) == 0 || frame == 0) return {};
    frames.push_back({frame * vmcore::kPageBytes});
  }
  return frames;
}

void keep_locked_pages_in_place() { write_small_file("/proc/sys/vm/compact_unevictable_allowed", "0\n"); }

}  // namespace panicroom::agent
