// Unpacks what the Linux build packs a kernel with: gzip, xz, lzma, zstd, lz4, bzip2 and lzo, told apart by their
// magic. Leaves out every format that the kernel's own decompressors (lib/decompress*.c) do not know.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kernels {

enum class Compression { kNone, kGzip, kXz, kLzma, kZstd, kLz4, kBzip2, kLzo };

// "gzip", "xz" and so on; "none" for kNone.
std::string_view compression_name(Compression compression);

// By the first bytes, as the kernel does (lib/decompress.c). Never kNone: nothing if they are no known magic.
std::optional<Compression> detect_compression(Bytes payload);

// The unpacked bytes. lz4 is the legacy frame (magic 0x184C2102) and lzo the lzop container, as the kernel uses them.
//
// The kernel build appends the unpacked size (4 bytes, little-endian) to most payloads; such a trailer is tolerated,
// and checked where it is there. Other bytes behind the compressed stream are ignored.
//
// `max_output` is in bytes. Memory grows with what is really unpacked, so a small hostile payload costs little before
// it fails. Errors (kInvalidInput) name the compression and what is wrong: truncated, corrupt, too large. Thread-safe.
Result<std::vector<std::byte>> decompress(Bytes payload, std::size_t max_output);

}  // namespace panicroom::kernels
