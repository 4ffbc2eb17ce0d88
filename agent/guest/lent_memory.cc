#include "agent/guest/lent_memory.h"

#include <sys/mman.h>
#include <zlib.h>

#include <algorithm>

#include "agent/guest/page_frames.h"
#include "agent/vmcore/page_walk.h"

namespace panicroom::agent {

using vmcore::kPageBytes;

std::optional<LentMemory> LentMemory::create(std::size_t bytes) {
  keep_locked_pages_in_place();
  const std::size_t pages = (bytes + kPageBytes - 1) / kPageBytes + 1;
  const std::size_t size = pages * kPageBytes;
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED) return std::nullopt;
  auto frames = mlock(at, size) == 0 ? page_frames(at, pages) : std::vector<Gpa>();
  if (frames.empty()) {
    munmap(at, size);
    return std::nullopt;
  }
  auto* begin = static_cast<std::byte*>(at);
  auto* word = reinterpret_cast<volatile std::uint64_t*>(begin + size - kPageBytes);
  return LentMemory({begin, bytes}, word, std::move(frames));
}

void LentMemory::lend(std::size_t used, v1::Lent& out) const {
  for (std::size_t done = 0; done < used; done += kPageBytes) {
    const Gpa frame = frames_[done / kPageBytes];
    const std::size_t length = std::min<std::size_t>(kPageBytes, used - done);
    if (!out.ranges().empty()) {
      auto& last = *out.mutable_ranges(out.ranges_size() - 1);
      if (last.address() + last.bytes() == frame.value) {
        last.set_bytes(last.bytes() + length);
        continue;
      }
    }
    auto& range = *out.add_ranges();
    range.set_address(frame.value);
    range.set_bytes(length);
  }
  out.set_crc32(static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes_.data()), used)));
}

void LentMemory::lend(std::size_t used, std::uint64_t acknowledgement, v1::Lent& out) const {
  lend(used, out);
  out.set_acknowledge_at(frames_.back().value);
  out.set_acknowledgement(acknowledgement);
}

std::uint64_t LentMemory::acknowledged() const { return *word_; }

}  // namespace panicroom::agent
