#include "kernels/image/block_formats.h"

#include <lz4.h>
#include <lzo/lzo1x.h>

#include <cstdint>
#include <cstring>
#include <optional>

namespace panicroom::kernels {
namespace {

constexpr std::uint32_t kLz4LegacyMagic = 0x184c2102;
constexpr std::size_t kLz4MaxBlock = std::size_t{8} << 20;
constexpr std::size_t kLzoMaxBlock = std::size_t{256} << 10;
// What the kernel build's `size_append` writes behind the stream.
constexpr std::size_t kSizeTrailer = 4;

// lzop's flags, by the names in lzop's conf.h.
constexpr std::uint32_t kAdler32Unpacked = 0x1;
constexpr std::uint32_t kAdler32Packed = 0x2;
constexpr std::uint32_t kExtraField = 0x40;
constexpr std::uint32_t kCrc32Unpacked = 0x100;
constexpr std::uint32_t kCrc32Packed = 0x200;
constexpr std::uint32_t kFilter = 0x800;
constexpr std::uint32_t kHeaderCrc32 = 0x1000;

const unsigned char* raw(Bytes bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

// Reads big-endian numbers forward; once something is missing, everything after is missing too.
class Cursor {
 public:
  Cursor(Bytes bytes, std::size_t position) : bytes_(bytes), position_(position) {}

  std::optional<Bytes> take(std::size_t length) {
    const auto part = slice(bytes_, position_, length);
    position_ = part ? position_ + length : bytes_.size() + 1;
    return part;
  }
  std::optional<std::uint32_t> big_endian(std::size_t width) {
    const auto part = take(width);
    if (!part) return std::nullopt;
    std::uint32_t value = 0;
    for (const std::byte byte : *part) value = value << 8 | std::to_integer<std::uint32_t>(byte);
    return value;
  }
  [[nodiscard]] std::size_t position() const { return position_; }

 private:
  Bytes bytes_;
  std::size_t position_;
};

Error truncated_lzo(std::string_view where) { return invalid_input("lzo: truncated in {}", where); }

struct LzopHeader {
  std::uint32_t flags;
  std::size_t size;  // Offset of the first block.
};

Result<LzopHeader> parse_lzop_header(Bytes payload) {
  constexpr std::size_t kMagicSize = 9;
  Cursor cursor(payload, kMagicSize);
  const auto version = cursor.big_endian(2);
  if (!version) return truncated_lzo("its header");
  const bool new_format = *version >= 0x0940;
  cursor.take(2);                  // The library's version.
  if (new_format) cursor.take(2);  // The version needed to unpack.
  const auto method = cursor.big_endian(1);
  if (new_format) cursor.take(1);  // The level.
  const auto flags = cursor.big_endian(4);
  if (!flags) return truncated_lzo("its header");
  if (*method < 1 || *method > 3) return invalid_input("lzo: unknown method {} in its header", *method);
  if (*flags & kFilter) return invalid_input("lzo: uses a filter, which the kernel never does");
  cursor.take(new_format ? 12 : 8);  // Mode and modification time.
  const auto name_length = cursor.big_endian(1);
  if (!name_length) return truncated_lzo("its header");
  cursor.take(*name_length);

  const std::size_t checked_end = cursor.position();
  const auto checksum = cursor.big_endian(4);
  if (!checksum) return truncated_lzo("its header");
  const Bytes checked = payload.subspan(kMagicSize, checked_end - kMagicSize);
  const std::uint32_t actual =
      *flags & kHeaderCrc32 ? lzo_crc32(0, raw(checked), checked.size()) : lzo_adler32(1, raw(checked), checked.size());
  if (actual != *checksum) return invalid_input("lzo: corrupt: its header's checksum is wrong");
  if (*flags & kExtraField) {
    const auto extra_length = cursor.big_endian(4);
    if (extra_length) cursor.take(*extra_length);
    if (!extra_length || !cursor.take(4)) return truncated_lzo("its header's extra field");
  }
  return LzopHeader{*flags, cursor.position()};
}

// The checksums of one kind that stand before a block's data.
struct BlockChecksums {
  std::optional<std::uint32_t> adler32;
  std::optional<std::uint32_t> crc32;

  [[nodiscard]] bool match(Bytes data) const {
    return (!adler32 || *adler32 == lzo_adler32(1, raw(data), data.size())) &&
           (!crc32 || *crc32 == lzo_crc32(0, raw(data), data.size()));
  }
};

}  // namespace

Result<std::size_t> unpack_lz4_legacy(Bytes payload, BoundedOutput& output) {
  std::size_t position = sizeof(kLz4LegacyMagic);
  while (!output.exceeded()) {
    const std::size_t left = payload.size() - position;
    // A block's length with nothing behind it is no block: it is the trailer.
    if (left == 0 || left == kSizeTrailer) return position;
    const auto packed_size = load<std::uint32_t>(payload, position);
    if (!packed_size) return invalid_input("lz4: truncated: {} stray bytes at offset {:#x}", left, position);
    if (*packed_size == kLz4LegacyMagic) {  // Concatenated frames.
      position += sizeof(kLz4LegacyMagic);
      continue;
    }
    if (*packed_size == 0 || *packed_size > LZ4_COMPRESSBOUND(kLz4MaxBlock)) {
      return invalid_input("lz4: corrupt: block of {} bytes at offset {:#x}", *packed_size, position);
    }
    const auto packed = slice(payload, position + sizeof(*packed_size), *packed_size);
    if (!packed) {
      return invalid_input("lz4: truncated: the block at offset {:#x} has {} bytes, of which {} are there", position,
                           *packed_size, left - sizeof(*packed_size));
    }
    const auto room = output.room(kLz4MaxBlock);
    const int written =
        LZ4_decompress_safe(reinterpret_cast<const char*>(packed->data()), reinterpret_cast<char*>(room.data()),
                            static_cast<int>(packed->size()), static_cast<int>(kLz4MaxBlock));
    if (written < 0) return invalid_input("lz4: corrupt: the block at offset {:#x} does not decode", position);
    output.commit(static_cast<std::size_t>(written));
    position += sizeof(*packed_size) + *packed_size;
  }
  return position;
}

Result<std::size_t> unpack_lzop(Bytes payload, BoundedOutput& output) {
  if (lzo_init() != LZO_E_OK) return host_error("lzo: liblzo2 does not fit this build (lzo_init failed)");
  const LzopHeader header = TRY(parse_lzop_header(payload));
  Cursor cursor(payload, header.size);
  while (!output.exceeded()) {
    const std::size_t begin = cursor.position();
    const auto unpacked_size = cursor.big_endian(4);
    if (!unpacked_size) return truncated_lzo("the list of blocks: its end mark is missing");
    if (*unpacked_size == 0) break;
    const auto packed_size = cursor.big_endian(4);
    BlockChecksums unpacked_sums;
    BlockChecksums packed_sums;
    if (header.flags & kAdler32Unpacked) unpacked_sums.adler32 = cursor.big_endian(4);
    if (header.flags & kCrc32Unpacked) unpacked_sums.crc32 = cursor.big_endian(4);
    const bool stored = packed_size == unpacked_size;
    if (!stored && (header.flags & kAdler32Packed)) packed_sums.adler32 = cursor.big_endian(4);
    if (!stored && (header.flags & kCrc32Packed)) packed_sums.crc32 = cursor.big_endian(4);
    if (*unpacked_size > kLzoMaxBlock || (packed_size && *packed_size > *unpacked_size)) {
      return invalid_input("lzo: corrupt: the block at offset {:#x} has impossible sizes", begin);
    }
    const auto packed = packed_size ? cursor.take(*packed_size) : std::nullopt;
    if (!packed) return truncated_lzo(fmt::format("the block at offset {:#x}", begin));
    if (!packed_sums.match(*packed)) {
      return invalid_input("lzo: corrupt: the checksum of the packed block at offset {:#x} is wrong", begin);
    }

    const auto room = output.room(*unpacked_size);
    if (stored) {
      std::memcpy(room.data(), packed->data(), packed->size());
    } else {
      lzo_uint written = *unpacked_size;
      const int status = lzo1x_decompress_safe(raw(*packed), packed->size(),
                                               reinterpret_cast<unsigned char*>(room.data()), &written, nullptr);
      if (status != LZO_E_OK || written != *unpacked_size) {
        return invalid_input("lzo: corrupt: the block at offset {:#x} does not decode (liblzo2 says {})", begin,
                             status);
      }
    }
    if (!unpacked_sums.match(room.first(*unpacked_size))) {
      return invalid_input("lzo: corrupt: the checksum of the block at offset {:#x} is wrong", begin);
    }
    output.commit(*unpacked_size);
  }
  return cursor.position();
}

}  // namespace panicroom::kernels
