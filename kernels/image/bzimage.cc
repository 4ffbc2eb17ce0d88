#include "kernels/image/bzimage.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

namespace panicroom::kernels {
namespace {

using namespace std::string_view_literals;

// Offsets in the file, by the names in Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
constexpr std::uint64_t kSetupSects = 0x1f1;
constexpr std::uint64_t kBootFlag = 0x1fe;
constexpr std::uint64_t kJump = 0x200;
constexpr std::uint64_t kHeaderMagic = 0x202;
constexpr std::uint64_t kVersion = 0x206;
constexpr std::uint64_t kKernelVersion = 0x20e;
constexpr std::uint64_t kLoadFlags = 0x211;
constexpr std::uint64_t kKernelAlignment = 0x230;
constexpr std::uint64_t kXloadFlags = 0x236;
constexpr std::uint64_t kPayloadOffset = 0x248;
constexpr std::uint64_t kPayloadLength = 0x24c;
constexpr std::uint64_t kInitSize = 0x260;

constexpr std::uint64_t kSector = 512;
constexpr std::uint16_t kBootFlagMagic = 0xaa55;
constexpr std::uint8_t kLoadedHigh = 0x01;
constexpr std::uint16_t kXlfKernel64 = 0x0001;
constexpr std::uint16_t kFirstProtocolWithPayload = 0x0208;
constexpr std::uint16_t kFirstProtocolWithXloadflags = 0x020c;

bool has_at(Bytes file, std::uint64_t offset, std::string_view text) {
  const auto part = slice(file, offset, text.size());
  return part && as_text(*part) == text;
}

bool is_elf(Bytes file) {
  return has_at(file, 0,
                "\x7f"
                "ELF"sv);
}

// The text at `offset` up to a NUL, at most `limit` bytes; empty if it is not printable to its end.
std::string printable_text(Bytes file, std::uint64_t offset, std::size_t limit) {
  const auto part =
      slice(file, offset, std::min<std::uint64_t>(limit, offset < file.size() ? file.size() - offset : 0));
  if (!part) return {};
  std::string_view text = as_text(*part);
  text = text.substr(0, text.find('\0'));
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  return printable && text.size() < limit ? std::string(text) : std::string();
}

// What a file that we cannot use looks like, for the error's sake.
Error not_a_kernel(Bytes file) {
  if (file.empty()) return invalid_input("the file is empty");
  if (has_at(file, 0x38, "ARM\x64"sv)) return unsupported("unsupported architecture: an arm64 Image");
  if (has_at(file, 0x30, "RISCV\0\0\0"sv) || has_at(file, 0x38, "RSC\x05"sv)) {
    return unsupported("unsupported architecture: a RISC-V Image");
  }
  if (has_at(file, 0x24, "\x18\x28\x6f\x01"sv)) return unsupported("unsupported architecture: an arm zImage");
  if (has_at(file, 0, "\x27\x05\x19\x56"sv)) return unsupported("a U-Boot image: pass the kernel inside it");
  if (has_at(file, 0, "!<arch>\n"sv)) return invalid_input("a Debian package: pass the vmlinuz inside it");
  if (has_at(file, 0, "070701"sv)) return invalid_input("a cpio archive: an initramfs, not a kernel");
  const std::string_view head = as_text(file.first(std::min<std::size_t>(file.size(), 256)));
  if (std::all_of(head.begin(), head.end(), [](unsigned char c) { return std::isprint(c) || std::isspace(c); })) {
    return invalid_input("a text file, not a kernel");
  }
  if (file.size() < kInitSize + sizeof(std::uint32_t)) {
    return invalid_input("truncated: {} bytes, too short for a kernel's header", file.size());
  }
  return invalid_input("neither a bzImage (no HdrS at {:#x}) nor an ELF file", kHeaderMagic);
}

}  // namespace

bool is_bzimage(Bytes file) {
  return load<std::uint16_t>(file, kBootFlag) == kBootFlagMagic && has_at(file, kHeaderMagic, "HdrS");
}

Result<SetupHeader> parse_setup_header(Bytes file) {
  if (!is_bzimage(file)) return invalid_input("no x86 setup header (no HdrS at {:#x})", kHeaderMagic);
  const auto protocol = load<std::uint16_t>(file, kVersion);
  if (!protocol) return invalid_input("truncated: the file ends in its setup header");
  if (*protocol < kFirstProtocolWithPayload) {
    return unsupported("boot protocol {}.{:02}: before 2.08 a bzImage does not tell where its payload is",
                       *protocol >> 8, *protocol & 0xff);
  }
  // The byte at 0x201 is how far the header reaches behind 0x202 (a jump over it).
  const std::uint64_t header_end = kHeaderMagic + load<std::uint8_t>(file, kJump + 1).value_or(0);
  if (header_end < kPayloadLength + sizeof(std::uint32_t)) {
    return invalid_input("the setup header ends at {:#x}, before its payload_length", header_end);
  }
  if (file.size() < header_end || file.size() < kInitSize + sizeof(std::uint32_t)) {
    return invalid_input("truncated: the setup header ends at {:#x} but the file has {:#x} bytes", header_end,
                         file.size());
  }
  SetupHeader header;
  header.protocol = *protocol;
  if (!(*load<std::uint8_t>(file, kLoadFlags) & kLoadedHigh)) return unsupported("a zImage, not a bzImage");
  if (*protocol >= kFirstProtocolWithXloadflags) {
    header.xloadflags = *load<std::uint16_t>(file, kXloadFlags);
    if (!(header.xloadflags & kXlfKernel64)) return unsupported("unsupported architecture: a 32-bit x86 kernel");
  }
  header.kernel_alignment = *load<std::uint32_t>(file, kKernelAlignment);
  if (header_end >= kInitSize + sizeof(std::uint32_t)) header.init_size = *load<std::uint32_t>(file, kInitSize);

  // "If setup_sects is 0, the real value is 4"; the boot sector comes on top of it.
  const std::uint64_t setup_sects = *load<std::uint8_t>(file, kSetupSects);
  const std::uint64_t protected_mode = ((setup_sects == 0 ? 4 : setup_sects) + 1) * kSector;
  header.payload_begin = protected_mode + *load<std::uint32_t>(file, kPayloadOffset);
  header.payload_end = header.payload_begin + *load<std::uint32_t>(file, kPayloadLength);
  if (header.payload_end > file.size()) {
    return invalid_input("truncated: payload ends at {} but the file has {} bytes", header.payload_end, file.size());
  }
  if (header.payload_end == header.payload_begin)
    return invalid_input("the setup header says that there is no payload");

  // The pointer counts from 0x200; a real one lies in the setup code.
  const std::uint64_t version_at = *load<std::uint16_t>(file, kKernelVersion);
  constexpr std::size_t kMaxVersion = 512;
  if (version_at != 0 && version_at + kJump < protected_mode) {
    header.kernel_version = printable_text(file, version_at + kJump, kMaxVersion);
  }
  return header;
}

Result<UnpackedKernel> unpack_kernel(std::vector<std::byte> file, std::size_t max_bytes) {
  UnpackedKernel kernel;
  if (is_elf(file)) {
    kernel.elf = std::move(file);
    return kernel;
  }
  Bytes payload = file;
  if (is_bzimage(file)) {
    kernel.setup = TRY(parse_setup_header(file));
    payload = payload.subspan(kernel.setup->payload_begin, kernel.setup->payload_end - kernel.setup->payload_begin);
    // CONFIG_KERNEL_UNCOMPRESSED is not offered on x86, but costs nothing to accept.
    if (is_elf(payload)) {
      kernel.elf.assign(payload.begin(), payload.end());
      return kernel;
    }
  } else if (!detect_compression(file)) {
    return not_a_kernel(file);
  }
  kernel.compression = detect_compression(payload).value_or(Compression::kNone);
  kernel.elf = TRY_CONTEXT("payload", decompress(payload, max_bytes));
  if (!is_elf(kernel.elf)) {
    if (kernel.setup)
      return invalid_input("payload: {}: unpacks to something that is not ELF", compression_name(kernel.compression));
    return not_a_kernel(kernel.elf).with_context(fmt::format("unpacked from {}", compression_name(kernel.compression)));
  }
  return kernel;
}

}  // namespace panicroom::kernels
