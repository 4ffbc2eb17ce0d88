#include "kernels/image/kaslr.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace panicroom::kernels {
namespace {

constexpr std::size_t kGateSize = 16;
constexpr std::uint8_t kInterruptGate = 0xe;
constexpr std::uint8_t kTrapGate = 0xf;
// arch/x86/Kconfig: CONFIG_PHYSICAL_ALIGN's least value on x86-64.
constexpr std::uint64_t kMinAlignment = std::uint64_t{2} << 20;
// Documentation/arch/x86/x86_64/mm.rst: the kernel text mapping, KERNEL_IMAGE_SIZE long with KASLR.
constexpr Gva kKernelMapBegin{0xffffffff80000000};
constexpr Gva kKernelMapEnd{0xffffffffc0000000};

struct Gate {
  unsigned vector;
  std::string_view handler;
  bool required;  // Else a kernel without the handler (no SMP) is taken without it.
};

constexpr Gate kDivideError{0, "asm_exc_divide_error", true};
constexpr std::array kWitnesses{
    Gate{2, "asm_exc_nmi", true},
    Gate{14, "asm_exc_page_fault", true},
    Gate{0xf8, "asm_sysvec_reboot", false},
};

// The handler's address in the IDT gate of a vector. Intel SDM Vol. 3A, Figure 6-8 "64-Bit IDT Gate Descriptors".
Result<Gva> read_handler(const GuestReader& read, Gva idt_base, unsigned vector) {
  std::array<std::byte, kGateSize> gate{};
  TRY_CONTEXT(fmt::format("reading gate {:#x} of the IDT at {}", vector, idt_base),
              read(idt_base + vector * kGateSize, gate));
  const auto type_byte = *load<std::uint8_t>(gate, 5);
  const unsigned type = type_byte & 0xf;
  const bool present = (type_byte & 0x80) != 0;
  if (!present || (type != kInterruptGate && type != kTrapGate)) {
    return host_error("KASLR slide: gate {:#x} of the IDT at {} is no present interrupt or trap gate (byte 5 is {:#x})",
                      vector, idt_base, type_byte);
  }
  return Gva{std::uint64_t{*load<std::uint16_t>(gate, 0)} | std::uint64_t{*load<std::uint16_t>(gate, 6)} << 16 |
             std::uint64_t{*load<std::uint32_t>(gate, 8)} << 32};
}

// The kernel image's extent in link addresses: the segments in the kernel's half, without the per-CPU one at 0.
LinkRange kernel_extent(const ElfImage& elf) {
  LinkRange extent{{~std::uint64_t{0}}, {0}};
  for (const Segment& segment : elf.segments()) {
    if (segment.range.begin.value < kKernelMapBegin.value) continue;
    extent.begin = std::min(extent.begin, segment.range.begin);
    extent.end = std::max(extent.end, segment.range.end);
  }
  return extent;
}

Result<> check_range(const KernelImage& image, KaslrSlide slide) {
  if (slide.bytes % kMinAlignment != 0) {
    return host_error("KASLR slide: {:#x} is no multiple of 2 MiB: another kernel than {} is running", slide.bytes,
                      image.release());
  }
  const LinkRange extent = kernel_extent(image.elf());
  const std::uint64_t room = kKernelMapEnd - kKernelMapBegin;
  // KASLR only moves up, so a slide that would leave the mapping is a difference between two kernels.
  if (extent.begin > extent.end || slide.bytes >= room || extent.end.value + slide.bytes > kKernelMapEnd.value) {
    return host_error(
        "KASLR slide: {:#x} would move the kernel out of its range {} to {}: another kernel than {} is running",
        slide.bytes, kKernelMapBegin, kKernelMapEnd, image.release());
  }
  return {};
}

Result<> check_banner(const KernelImage& image, const GuestReader& read, KaslrSlide slide) {
  const Symbol symbol = TRY(image.symbols().unique("linux_banner"));
  std::vector<std::byte> bytes(image.banner().size());
  TRY_CONTEXT("reading linux_banner", read(symbol.address + slide, bytes));
  if (as_text(bytes) != image.banner()) {
    return host_error("KASLR slide: with {:#x} linux_banner would be at {}, but that does not hold '{}'", slide.bytes,
                      symbol.address + slide, image.banner());
  }
  return {};
}

Result<KaslrSlide> by_idt(const KernelImage& image, const GuestReader& read, Gva idt_base, Gva handler) {
  const Symbol divide_error = TRY(image.symbols().unique(kDivideError.handler));
  const KaslrSlide slide{handler.value - divide_error.address.value};
  TRY(check_range(image, slide));
  for (const Gate& gate : kWitnesses) {
    if (!gate.required && image.symbols().find(gate.handler).empty()) continue;
    const Symbol symbol = TRY(image.symbols().unique(gate.handler));
    const Gva found = TRY(read_handler(read, idt_base, gate.vector));
    if (found != symbol.address + slide) {
      return host_error(
          "KASLR slide: gate 0 of the IDT says {:#x}, but gate {:#x} leads to {}, not to {} at {}: another kernel than "
          "{} is "
          "running, or its early boot is not over",
          slide.bytes, gate.vector, found, gate.handler, symbol.address + slide, image.release());
    }
  }
  TRY(check_banner(image, read, slide));
  return slide;
}

// Where there is no IDT to ask: the one place among those that KASLR has at which the kernel's banner lies.
Result<KaslrSlide> by_banner(const KernelImage& image, const GuestReader& read) {
  const Symbol symbol = TRY(image.symbols().unique("linux_banner"));
  std::vector<std::byte> bytes(image.banner().size());
  std::optional<KaslrSlide> found;
  for (KaslrSlide slide{0}; check_range(image, slide); slide.bytes += kMinAlignment) {
    if (!read(symbol.address + slide, bytes) || as_text(bytes) != image.banner()) continue;
    if (found) {
      return host_error("KASLR slide: linux_banner lies at {} and at {}", symbol.address + *found,
                        symbol.address + slide);
    }
    found = slide;
  }
  if (found) return *found;
  return host_error("KASLR slide: linux_banner of {} is nowhere in the kernel's range", image.release());
}

}  // namespace

Result<KaslrSlide> find_kaslr_slide(const KernelImage& image, const GuestReader& read, Gva idt_base) {
  const auto handler = read_handler(read, idt_base, kDivideError.vector);
  if (handler) return by_idt(image, read, idt_base, *handler);
  auto slide = by_banner(image, read);
  if (!slide) return std::move(slide).error().with_context(handler.error().message());
  return slide;
}

}  // namespace panicroom::kernels
