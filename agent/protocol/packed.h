// gzip, for what is large in the first kernel's initramfs: the kernel that unpacks an initramfs copies every byte of
// it, the agent unpacks as fast as the machine runs programs, and the machine needs less memory.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::agent {

// More than an unpacked kernel takes.
inline constexpr std::size_t kMaxUnpackedBytes = std::size_t{1} << 30;

// Packs fast rather than small, and the same bytes for the same input. kInvalidInput if there are more than
// kMaxUnpackedBytes, kHost if memory is short.
Result<std::vector<std::byte>> pack(Bytes bytes);
// How much it says that it unpacks to, which is at most kMaxUnpackedBytes. kInvalidInput if that cannot be.
Result<std::size_t> unpacked_size(Bytes packed);
// Fills `to`, which must be of that size. kInvalidInput if `packed` is not all of what pack() or gzip(1) gave.
Result<> unpack(Bytes packed, std::span<std::byte> to);

}  // namespace panicroom::agent
