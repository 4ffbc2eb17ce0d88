#include "agent/protocol/packed.h"

#include <zlib.h>

#include <cstdint>

namespace panicroom::agent {
namespace {

constexpr int kGzip = 16;  // Added to the window's bits: gzip's header and trailer, not zlib's.
constexpr int kMemoryLevel = 8;

Bytef* mutable_bytes(Bytes bytes) {
  // zlib's interface has no const; it does not write to its input.
  return reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
}

}  // namespace

Result<std::vector<std::byte>> pack(Bytes bytes) {
  if (bytes.size() > kMaxUnpackedBytes) return invalid_input("{} bytes are too many to be packed", bytes.size());
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + kGzip, kMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
    return host_error("zlib: out of memory");
  }
  std::vector<std::byte> packed(deflateBound(&stream, bytes.size()));
  stream.next_in = mutable_bytes(bytes);
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = mutable_bytes(packed);
  stream.avail_out = static_cast<uInt>(packed.size());
  const int status = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (status != Z_STREAM_END) return host_error("zlib: packing ended with {}", status);
  return packed;
}

Result<std::size_t> unpacked_size(Bytes packed) {
  // The trailer's last word is the size; what it says is not believed, but bounds what is tried.
  const auto size = packed.size() < sizeof(std::uint32_t)
                        ? std::nullopt
                        : load<std::uint32_t>(packed, packed.size() - sizeof(std::uint32_t));
  // Deflate makes at most some thousandth of its input.
  constexpr std::uint64_t kMostRatio = 1100;
  if (!size || *size > kMaxUnpackedBytes || *size > packed.size() * kMostRatio || packed.size() > kMaxUnpackedBytes) {
    return invalid_input("it is no gzip file of a size that is unpacked");
  }
  return *size;
}

Result<> unpack(Bytes packed, std::span<std::byte> to) {
  if (TRY(unpacked_size(packed)) != to.size()) return invalid_input("it unpacks to another size");
  z_stream stream{};
  if (inflateInit2(&stream, MAX_WBITS + kGzip) != Z_OK) return host_error("zlib: out of memory");
  std::byte nothing{};  // For an empty file: zlib wants a place to write to.
  stream.next_in = mutable_bytes(packed);
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(to.empty() ? &nothing : to.data());
  stream.avail_out = static_cast<uInt>(to.size());
  const int status = inflate(&stream, Z_FINISH);
  const bool whole = status == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0;
  inflateEnd(&stream);
  if (!whole) return invalid_input("it is a damaged gzip file");
  return {};
}

}  // namespace panicroom::agent
