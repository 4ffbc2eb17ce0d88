// The two containers of plain blocks that the kernel uses and no library reads: lz4's legacy frame and lzop. The blocks
// themselves are liblz4's and liblzo2's. Internal to kernels/image.
#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "base/result.h"
#include "kernels/image/bounded_output.h"

namespace panicroom::kernels {

// Each unpacks into `output` up to its end or until output.exceeded(), and returns how many bytes of `payload` it
// consumed; the four bytes of size that the kernel build appends are not counted as consumed.

// Layout: "Legacy frame" in lz4's doc/lz4_Frame_format.md, blocks of at most 8 MiB unpacked.
Result<std::size_t> unpack_lz4_legacy(Bytes payload, BoundedOutput& output);

// Layout: as lib/decompress_unlzo.c in the kernel reads it, blocks of at most 256 KiB unpacked; checksums are verified.
Result<std::size_t> unpack_lzop(Bytes payload, BoundedOutput& output);

}  // namespace panicroom::kernels
