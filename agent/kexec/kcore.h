// Where a running kernel lies, in physical memory and in its own addresses: from the ELF headers of its /proc/kcore.
// Nothing of the memory behind them is read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kexec {

struct KernelPlace {
  Gva text;  // _text, as it runs: the beginning of the kernel's image.
  Gpa text_physical;
  std::uint64_t text_bytes = 0;  // To _end.
  Gva direct_map;                // Where physical address 0 is mapped (PAGE_OFFSET).

  friend bool operator==(const KernelPlace&, const KernelPlace&) = default;
};

inline constexpr std::size_t kElfHeaderBytes = 64;
inline constexpr std::size_t kMaxKcoreHeaders = 4096;

// By the file's first kElfHeaderBytes: how many bytes from its beginning on hold all of its headers. kInvalidInput if
// it is no ELF-64 core, or one with more than kMaxKcoreHeaders.
Result<std::size_t> kcore_headers_size(Bytes elf_header);
// By all of these. kInvalidInput if one of the places is not told.
Result<KernelPlace> read_kcore(Bytes headers);

}  // namespace panicroom::kexec
