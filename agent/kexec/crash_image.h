// What kexec_load() is to put into the crash memory: an ELF vmlinux as capture kernel, and all that it needs. Pure:
// what it is made of has been read by the caller (agent/guest/kexec_load.h), and a test can make it up.
//
// From the bottom of the crash memory: the kernel, moved there as a whole. From the top down: the ELF core header, the
// entry (capture_entry.S), boot_params with the command line, the initrd. What lies between is the capture kernel's to
// use, and so is the rest but for the core header, which it must find whole whenever it looks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "agent/kexec/boot_params.h"
#include "agent/kexec/core_header.h"
#include "agent/kexec/iomem.h"
#include "agent/kexec/kcore.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kexec {

struct CrashImageParts {
  Bytes vmlinux;
  Bytes initrd;
  std::string command_line;  // Without elfcorehdr=, which is put in front of it.
  PhysicalMap machine;
  KernelPlace kernel;  // The running one.
  std::vector<NoteArea> cpu_notes;
  NoteArea vmcoreinfo;
  Bytes running_boot_params;
  std::array<std::byte, kSeedBytes> seed{};
};

struct CrashSegment {
  Bytes content;
  Gpa at;
  std::uint64_t bytes = 0;  // Whole pages; what the content does not fill is zero.
};

struct CrashImage {
  Gpa entry;
  std::vector<CrashSegment> segments;        // Views into `made` and the parts. At most KEXEC_SEGMENT_MAX (16).
  std::vector<std::vector<std::byte>> made;  // Not to be changed.
};

// kInvalidInput, with what mends it: the crash memory is missing or too small, the kernel is none, the command line is
// too long. The views in the result are as good as those of `parts`.
Result<CrashImage> build_crash_image(const CrashImageParts& parts);

}  // namespace panicroom::kexec
