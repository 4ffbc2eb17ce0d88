// From the file that a distribution calls vmlinuz to the kernel's ELF: the x86 setup header and the payload behind it.
// Layout and field names: Documentation/arch/x86/boot.rst in the kernel's source. Leaves out the EFI stub's PE headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "kernels/image/decompress.h"

namespace panicroom::kernels {

// More than any x86-64 kernel can be: KERNEL_IMAGE_SIZE is 1 GiB, of which what is packed uses a small part.
inline constexpr std::size_t kMaxKernelBytes = std::size_t{512} << 20;

// The fields of the setup header that panicroom uses, in the header's units.
struct SetupHeader {
  std::uint16_t protocol = 0;          // 0x020f is 2.15.
  std::uint16_t xloadflags = 0;        // XLF_KERNEL_64 is bit 0.
  std::uint32_t kernel_alignment = 0;  // CONFIG_PHYSICAL_ALIGN, in bytes.
  std::uint32_t init_size = 0;         // Bytes of memory that the kernel needs to unpack itself and start.
  std::uint64_t payload_begin = 0;     // Offsets into the file, not into the protected-mode code as the header has it.
  std::uint64_t payload_end = 0;
  std::string kernel_version;  // "6.1.0-56-cloud-amd64 (debian-kernel@...) #1 SMP ..."; empty if the header has none.
};

// True if the file has the boot sector's and the setup header's magic. It may still be truncated or unusable.
bool is_bzimage(Bytes file);

// The header, its offsets checked against the file's size. Errors are kInvalidInput for a broken or truncated file,
// kUnsupported for a kernel that is whole but not of our kind (32-bit, protocol older than 2.08: without a payload).
Result<SetupHeader> parse_setup_header(Bytes file);

struct UnpackedKernel {
  std::vector<std::byte>
      elf;  // Begins with the ELF header; the build may have appended its relocations behind the ELF.
  Compression compression = Compression::kNone;
  std::optional<SetupHeader> setup;  // If the file was a bzImage.
};

// Accepts a bzImage, an ELF vmlinux, and a compressed ELF vmlinux (vmlinux.gz and its like). Anything else is an error
// that says what the file is, where that can be told: another architecture's Image, a truncated download, a text file.
// `max_bytes` bounds what it unpacks to.
Result<UnpackedKernel> unpack_kernel(std::vector<std::byte> file, std::size_t max_bytes = kMaxKernelBytes);

}  // namespace panicroom::kernels
