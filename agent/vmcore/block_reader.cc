#include "agent/vmcore/block_reader.h"

#include <algorithm>

#include "agent/vmcore/page_walk.h"

namespace panicroom::vmcore {

const std::vector<std::byte>* BlockReader::block(std::uint64_t number) const {
  if (const auto kept = blocks_.find(number); kept != blocks_.end()) return &kept->second;
  const std::uint64_t begin = number * kBlockBytes;
  if (begin >= size()) return nullptr;
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min<std::uint64_t>(kBlockBytes, size() - begin)));
  if (!below_.read_at(begin, bytes)) return nullptr;
  // Whatever was read first is as good as any to be given up: who reads on and on does not come back.
  if (blocks_.size() == kMostBlocks) blocks_.erase(blocks_.begin());
  return &blocks_.emplace(number, std::move(bytes)).first->second;
}

Result<> BlockReader::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  const std::uint64_t first = offset / kBlockBytes;
  if (out.empty() || out.size() > kBlockBytes) return below_.read_at(offset, out);
  if (out.size() >= kPageBytes && !blocks_.contains(first)) return below_.read_at(offset, out);
  std::size_t done = 0;
  for (std::uint64_t number = first; done < out.size(); ++number) {
    const auto* bytes = block(number);
    const std::size_t within = number == first ? static_cast<std::size_t>(offset % kBlockBytes) : 0;
    if (bytes == nullptr || within >= bytes->size()) return below_.read_at(offset, out);
    const std::size_t length = std::min(out.size() - done, bytes->size() - within);
    std::copy_n(bytes->begin() + static_cast<std::ptrdiff_t>(within), length,
                out.begin() + static_cast<std::ptrdiff_t>(done));
    done += length;
  }
  return {};
}

}  // namespace panicroom::vmcore
