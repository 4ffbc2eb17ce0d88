// Finds how far KASLR moved a running kernel, from outside and without its help.
//
// The IDT tells where the exception handlers run, the image where they were linked: the difference is the slide. The
// IDT is mapped read-only at one fixed address (CPU_ENTRY_AREA_RO_IDT) on every x86-64 kernel that has page-table
// isolation built in, whatever KASLR does. A kernel that has no gates there (FRED delivers events without an IDT) is
// looked for by its banner, at each of the 512 places that KASLR has. Leaves out the randomised physical address.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "base/address.h"
#include "base/result.h"
#include "kernels/image/kernel_image.h"

namespace panicroom::kernels {

// Reads a running guest's memory at a virtual address: all bytes of the span, or an error.
using GuestReader = std::function<Result<>(Gva, std::span<std::byte>)>;

// CPU_ENTRY_AREA_BASE: where the kernel maps the IDT. Kernels from 5.10 to 7.3 have it there.
inline constexpr Gva kFixedIdtBase{0xfffffe0000000000};

// The slide of a guest that has passed its early boot (any time from the first user process on is right). 0 with
// nokaslr.
//
// The handler of vector 0 gives it; the gates of vectors 2 (NMI), 14 (#PF) and 0xf8 (the reboot interrupt, if the image
// has it) and the bytes of linux_banner at their slid address must agree; it must be a multiple of 2 MiB (the least
// CONFIG_PHYSICAL_ALIGN) and leave the kernel within its 1 GiB of address space. Every disagreement is an error that
// names it: it means that another kernel is running than `image`, or not yet. Pass the IDTR's base where it is known.
// If vector 0 has no gate there, linux_banner must lie at exactly one place.
// Gate layout: Intel SDM Vol. 3A, 6.14.1 "64-Bit Mode IDT".
Result<KaslrSlide> find_kaslr_slide(const KernelImage& image, const GuestReader& read, Gva idt_base = kFixedIdtBase);

}  // namespace panicroom::kernels
