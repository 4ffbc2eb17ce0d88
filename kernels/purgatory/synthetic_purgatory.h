// A purgatory as a kernel's build makes it, for tests: a relocatable ELF file with code, the region table, the digest
// and a .bss.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace panicroom::kernels {

struct SyntheticPurgatory {
  std::uint64_t text_size = 0x123;
  std::uint64_t entry = 0x20;        // Within .text, whose address is 0.
  std::uint64_t data_alignment = 8;  // Of the section that holds the table and, behind it, the digest.
  std::uint16_t machine = 62;        // EM_X86_64
  std::string digest_name = "purgatory_sha256_digest";
};

std::vector<std::byte> build_purgatory(const SyntheticPurgatory& what = {});

}  // namespace panicroom::kernels
