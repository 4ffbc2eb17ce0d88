// The ELF core header that a kernel under test leaves for its capture kernel, which makes /proc/vmcore of it (the
// memory that elfcorehdr= names). With kexec_file_load() the kernel makes one itself (crash_prepare_elf64_headers(),
// kernel/crash_core.c); this one has the same headers in the same order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "agent/kexec/iomem.h"
#include "agent/kexec/kcore.h"
#include "base/address.h"
#include "base/result.h"

namespace panicroom::kexec {

// Where a dying kernel writes ELF notes.
struct NoteArea {
  Gpa at;
  std::uint64_t bytes = 0;

  friend bool operator==(const NoteArea&, const NoteArea&) = default;
};

// /sys/kernel/vmcoreinfo: "0x0000000012345000 1024", both hexadecimal. kInvalidInput if it is not.
Result<NoteArea> parse_vmcoreinfo_area(std::string_view text);
// crash_notes and crash_notes_size of a CPU in /sys/devices/system/cpu: hexadecimal without 0x, and decimal.
Result<NoteArea> parse_crash_notes(std::string_view address, std::string_view size);

struct CoreHeader {
  std::vector<NoteArea> cpus;  // Of every CPU that can crash.
  NoteArea vmcoreinfo;
  KernelPlace kernel;
  std::vector<PhysicalRange> memory;  // What is to be in the dump.
};

// More PT_NOTEs and PT_LOADs than any x86-64 machine has.
inline constexpr std::size_t kMaxCoreHeaders = 16384;

// kInvalidInput if there are more headers than that.
Result<std::vector<std::byte>> build_core_header(const CoreHeader& what);

}  // namespace panicroom::kexec
