// The kernel that the agent loads with kexec_load(): an ELF vmlinux with the parts of a kernel that are loaded and
// nothing else, so that the initramfs that brings it along stays small.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/image/elf_image.h"

namespace panicroom::harness {

// The same PT_LOADs and entry, no sections. Readable by agent/kexec/vmlinux.h and by ElfImage::parse().
std::vector<std::byte> capture_vmlinux(const kernels::ElfImage& kernel);

}  // namespace panicroom::harness
