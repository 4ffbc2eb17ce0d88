// Decodes the kallsyms tables out of a kernel image: the only full symbol table that a stripped distribution kernel
// has.
//
// The tables (scripts/kallsyms.c in the kernel's source) have no header and no names of their own. They are found by
// the token table's run of digits, checked against the token index, and walked back through markers, names and count;
// where the addresses are and what they mean is a set of hypotheses, each tested against the image. Leaves out kernels
// without CONFIG_KALLSYMS_BASE_RELATIVE (none of x86-64's distributions) and without CONFIG_KALLSYMS_ALL's data
// symbols' sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/address.h"
#include "base/result.h"
#include "kernels/image/elf_image.h"
#include "kernels/image/symbols.h"

namespace panicroom::kernels {

// Where the address table is and how an entry becomes an address.
enum class KallsymsLayout {
  // Address table before the names; relative base; entries >= 0 are absolute (per-CPU), others count down from base
  // - 1.
  // 4.6 to 6.3 or so: 5.10 and 6.1 have it.
  kOffsetsFirstAbsolutePerCpu,
  // The same entries behind the token index. 6.12 has it.
  kOffsetsLastAbsolutePerCpu,
  // Behind the token index; address = relative base + unsigned 32-bit entry. 6.17 has it.
  kOffsetsLastUnsigned,
  // Behind the token index; address = the entry's own address + signed 32-bit entry. 7.0 and newer.
  kOffsetsLastSelfRelative,
  // Before the names, unsigned: 4.6 to 6.3 kernels without SMP.
  kOffsetsFirstUnsigned,
};

std::string_view kallsyms_layout_name(KallsymsLayout layout);

struct Kallsyms {
  SymbolTable symbols;
  KallsymsLayout layout;
};

// Every symbol of the image. kUnsupported if there are no kallsyms tables (CONFIG_KALLSYMS=n), kInvalidInput if what
// looks like them does not hold together, with the table that does not. Bounded time and memory on any input.
// Thread-safe.
Result<Kallsyms> decode_kallsyms(const ElfImage& elf);

}  // namespace panicroom::kernels
