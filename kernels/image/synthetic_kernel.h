// Builds small kernel images for tests and fuzz targets: an ELF with sections, kallsyms tables in every layout (written
// from scripts/kallsyms.c, not from our decoder), and a bzImage around it. Not linked into the product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "kernels/image/decompress.h"
#include "kernels/image/kallsyms.h"

namespace panicroom::kernels::testing {

struct SyntheticSection {
  std::string name;
  std::uint64_t address = 0;
  std::uint64_t flags = 0;  // SHF_*
  std::vector<std::byte> content;
};

// An x86-64 ET_EXEC with one PT_LOAD for each section that has SHF_ALLOC, executable if the section is.
std::vector<std::byte> build_elf(const std::vector<SyntheticSection>& sections, bool with_section_headers = true);

struct SyntheticSymbol {
  std::uint64_t address = 0;
  char type = 't';
  std::string name;
};

struct KallsymsOptions {
  KallsymsLayout layout = KallsymsLayout::kOffsetsFirstAbsolutePerCpu;
  bool sequences =
      false;  // With kallsyms_seqs_of_names: between markers and tokens, or at the end if offsets are last.
  bool long_names = true;     // As from 6.1 on. If not, no packed name may have more than 255 tokens.
  std::size_t alignment = 8;  // Of every table; 4 in newer kernels.
};

// The tables as they lie in .rodata, which must hold them at `address`. `symbols` must be sorted by address.
std::vector<std::byte> encode_kallsyms(const std::vector<SyntheticSymbol>& symbols, std::uint64_t address,
                                       const KallsymsOptions& options);

// The symbols of build_kernel(): some 700, among them the exception handlers, linux_banner, a static function that
// exists twice, aliases, one name of 400 characters and, where the layout has them, per-CPU symbols.
std::vector<SyntheticSymbol> kernel_symbols(const KallsymsOptions& options);

inline constexpr std::uint64_t kSyntheticText = 0xffffffff81000000;
inline constexpr std::uint64_t kSyntheticRodata = 0xffffffff82000000;
inline constexpr std::uint64_t kSyntheticData = 0xffffffff82400000;
inline constexpr std::uint64_t kSyntheticInitText = 0xffffffff82600000;
inline constexpr const char* kSyntheticRelease = "6.1.0-test-amd64";
inline constexpr const char* kSyntheticBanner = "Linux version 6.1.0-test-amd64 (tester@example.org) #1 SMP";

// A whole ELF kernel with kernel_symbols().
std::vector<std::byte> build_kernel(const KallsymsOptions& options);

// Compresses as the kernel's build does, the appended size included where it appends one.
std::vector<std::byte> compress(Compression compression, Bytes content);

// A bzImage, boot protocol 2.15, around a payload.
std::vector<std::byte> build_bzimage(Bytes payload, const std::string& kernel_version);

}  // namespace panicroom::kernels::testing
