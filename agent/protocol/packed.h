// gzip, for what is large in the first kernel's initramfs: the kernel that unpacks an initramfs copies every byte of
// it, the agent unpacks as fast as the machine runs programs, and the machine needs less memory.
#pragma once

#include <cstddef>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::agent {

// More than an unpacked kernel takes.
inline constexpr std::size_t kMaxUnpackedBytes = std::size_t{1} << 30;

// Packs fast rather than small, and the same bytes for the same input. kInvalidInput if there are more than
// kMaxUnpackedBytes, kHost if memory is short.
Result<std::vector<std::byte>> pack(Bytes bytes);
// kInvalidInput if it is not all of what pack() or gzip(1) gave, or more than kMaxUnpackedBytes.
Result<std::vector<std::byte>> unpack(Bytes packed);

}  // namespace panicroom::agent
