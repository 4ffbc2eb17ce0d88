#include "kernels/image/decompress.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "kernels/image/block_formats.h"
#include "kernels/image/bounded_output.h"

namespace panicroom::kernels {
namespace {

using namespace std::string_view_literals;

struct Magic {
  std::string_view bytes;
  Compression compression;
};

// As lib/decompress.c has them, but longer where the format allows it.
constexpr std::array kMagics{
    Magic{"\x1f\x8b"sv, Compression::kGzip},
    Magic{"\x1f\x9e"sv, Compression::kGzip},
    Magic{"BZh"sv, Compression::kBzip2},
    Magic{"\x5d\x00\x00"sv, Compression::kLzma},
    Magic{"\xfd\x37zXZ\x00"sv, Compression::kXz},
    Magic{"\x89LZO\x00\x0d\x0a\x1a\x0a"sv, Compression::kLzo},
    Magic{"\x02\x21\x4c\x18"sv, Compression::kLz4},
    Magic{"\x28\xb5\x2f\xfd"sv, Compression::kZstd},
};

// Enough for the 128 MiB dictionary that scripts/xz_wrap.sh may ask for.
constexpr std::uint64_t kLzmaMemoryLimit = std::uint64_t{256} << 20;
// zlib and bzip2 count in 32 bits.
constexpr std::size_t kMaxInput = std::size_t{1} << 30;

// What one call of a library's decoder did.
struct Progress {
  std::size_t consumed = 0;
  std::size_t produced = 0;
  bool end = false;
};

// Calls `step(input, room) -> Result<Progress>` until the stream's end; returns how much of `payload` it consumed.
template <typename Step>
Result<std::size_t> pump(std::string_view name, Bytes payload, BoundedOutput& output, Step step) {
  std::size_t consumed = 0;
  while (!output.exceeded()) {
    const Bytes input = payload.subspan(consumed, std::min(payload.size() - consumed, kMaxInput));
    const std::span<std::byte> room = output.room();
    const Progress progress = TRY_CONTEXT(name, step(input, room));
    consumed += progress.consumed;
    output.commit(progress.produced);
    if (progress.end) break;
    if (progress.consumed == 0 && progress.produced == 0) {
      if (consumed == payload.size()) {
        return invalid_input("{}: truncated: the stream goes on behind the {} bytes that are there", name, consumed);
      }
      return invalid_input("{}: corrupt: no end of the stream at offset {:#x}", name, consumed);
    }
  }
  return consumed;
}

Result<std::size_t> unpack_gzip(Bytes payload, BoundedOutput& output) {
  z_stream stream{};
  constexpr int kGzipWrapper = 16;
  if (inflateInit2(&stream, kGzipWrapper + MAX_WBITS) != Z_OK) return host_error("gzip: zlib cannot start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ending(&stream, inflateEnd);
  return pump("gzip", payload, output, [&](Bytes input, std::span<std::byte> room) -> Result<Progress> {
    // zlib does not write to its input, but not every version's header says so.
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(input.data()));
    stream.avail_in = static_cast<uInt>(input.size());
    stream.next_out = reinterpret_cast<Bytef*>(room.data());
    stream.avail_out = static_cast<uInt>(room.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      return invalid_input("corrupt: {}", stream.msg != nullptr ? stream.msg : zError(status));
    }
    return Progress{input.size() - stream.avail_in, room.size() - stream.avail_out, status == Z_STREAM_END};
  });
}

std::string_view lzma_status(lzma_ret status) {
  switch (status) {
    case LZMA_MEMLIMIT_ERROR:
      return "its dictionary is larger than any kernel's";
    case LZMA_FORMAT_ERROR:
      return "not in this format";
    case LZMA_OPTIONS_ERROR:
      return "uses options that liblzma does not know";
    case LZMA_DATA_ERROR:
      return "corrupt";
    default:
      return "liblzma cannot decode it";
  }
}

Result<std::size_t> unpack_lzma(std::string_view name, bool alone, Bytes payload, BoundedOutput& output) {
  lzma_stream stream = LZMA_STREAM_INIT;
  const std::unique_ptr<lzma_stream, void (*)(lzma_stream*)> ending(&stream, lzma_end);
  const lzma_ret started =
      alone ? lzma_alone_decoder(&stream, kLzmaMemoryLimit) : lzma_stream_decoder(&stream, kLzmaMemoryLimit, 0);
  if (started != LZMA_OK) return host_error("{}: liblzma cannot start", name);
  return pump(name, payload, output, [&](Bytes input, std::span<std::byte> room) -> Result<Progress> {
    stream.next_in = reinterpret_cast<const std::uint8_t*>(input.data());
    stream.avail_in = input.size();
    stream.next_out = reinterpret_cast<std::uint8_t*>(room.data());
    stream.avail_out = room.size();
    const lzma_ret status = lzma_code(&stream, LZMA_RUN);
    if (status == LZMA_MEM_ERROR) return host_error("out of memory");
    if (status != LZMA_OK && status != LZMA_STREAM_END && status != LZMA_BUF_ERROR) {
      return invalid_input("{} at offset {:#x}", lzma_status(status), stream.total_in);
    }
    return Progress{input.size() - stream.avail_in, room.size() - stream.avail_out, status == LZMA_STREAM_END};
  });
}

Result<std::size_t> unpack_zstd(Bytes payload, BoundedOutput& output) {
  const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  if (stream == nullptr) return host_error("zstd: out of memory");
  return pump("zstd", payload, output, [&](Bytes input, std::span<std::byte> room) -> Result<Progress> {
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    ZSTD_outBuffer out{room.data(), room.size(), 0};
    const std::size_t status = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(status)) return invalid_input("corrupt: {}", ZSTD_getErrorName(status));
    return Progress{in.pos, out.pos, status == 0};
  });
}

Result<std::size_t> unpack_bzip2(Bytes payload, BoundedOutput& output) {
  bz_stream stream{};
  if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) return host_error("bzip2: libbz2 cannot start");
  const std::unique_ptr<bz_stream, int (*)(bz_stream*)> ending(&stream, BZ2_bzDecompressEnd);
  return pump("bzip2", payload, output, [&](Bytes input, std::span<std::byte> room) -> Result<Progress> {
    stream.next_in = const_cast<char*>(reinterpret_cast<const char*>(input.data()));
    stream.avail_in = static_cast<unsigned>(input.size());
    stream.next_out = reinterpret_cast<char*>(room.data());
    stream.avail_out = static_cast<unsigned>(room.size());
    const int status = BZ2_bzDecompress(&stream);
    if (status != BZ_OK && status != BZ_STREAM_END) {
      return invalid_input("{}", status == BZ_DATA_ERROR_MAGIC ? "not in this format" : "corrupt");
    }
    return Progress{input.size() - stream.avail_in, room.size() - stream.avail_out, status == BZ_STREAM_END};
  });
}

Result<std::size_t> unpack(Compression compression, Bytes payload, BoundedOutput& output) {
  switch (compression) {
    case Compression::kGzip:
      return unpack_gzip(payload, output);
    case Compression::kXz:
      return unpack_lzma("xz", false, payload, output);
    case Compression::kLzma:
      return unpack_lzma("lzma", true, payload, output);
    case Compression::kZstd:
      return unpack_zstd(payload, output);
    case Compression::kLz4:
      return unpack_lz4_legacy(payload, output);
    case Compression::kBzip2:
      return unpack_bzip2(payload, output);
    case Compression::kLzo:
      return unpack_lzop(payload, output);
    case Compression::kNone:
      break;
  }
  return invalid_input("not compressed");
}

}  // namespace

std::string_view compression_name(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "none";
    case Compression::kGzip:
      return "gzip";
    case Compression::kXz:
      return "xz";
    case Compression::kLzma:
      return "lzma";
    case Compression::kZstd:
      return "zstd";
    case Compression::kLz4:
      return "lz4";
    case Compression::kBzip2:
      return "bzip2";
    case Compression::kLzo:
      return "lzo";
  }
  return "unknown";
}

std::optional<Compression> detect_compression(Bytes payload) {
  for (const Magic& magic : kMagics) {
    const auto head = slice(payload, 0, magic.bytes.size());
    if (head && as_text(*head) == magic.bytes) return magic.compression;
  }
  return std::nullopt;
}

Result<std::vector<std::byte>> decompress(Bytes payload, std::size_t max_output) {
  const auto compression = detect_compression(payload);
  if (!compression) {
    std::string head;
    for (const std::byte byte : payload.first(std::min<std::size_t>(payload.size(), 8))) {
      head += fmt::format(" {:02x}", std::to_integer<unsigned>(byte));
    }
    return invalid_input("no known compression: it begins with{}", head.empty() ? " nothing" : head);
  }
  constexpr std::uint64_t kUsualRatio = 8;
  BoundedOutput output(max_output, payload.size() * kUsualRatio);
  const std::size_t consumed = TRY(unpack(*compression, payload, output));
  if (output.exceeded()) {
    return invalid_input("{}: unpacks to more than {} bytes", compression_name(*compression), max_output);
  }
  // gzip has its own size at its end, so the build appends none.
  if (*compression != Compression::kGzip && payload.size() - consumed == sizeof(std::uint32_t)) {
    const std::uint32_t trailer = load<std::uint32_t>(payload, consumed).value_or(0);
    if (trailer != static_cast<std::uint32_t>(output.size())) {
      return invalid_input("{}: corrupt: unpacked {} bytes, but the size appended to it says {}",
                           compression_name(*compression), output.size(), trailer);
    }
  }
  return std::move(output).take();
}

}  // namespace panicroom::kernels
