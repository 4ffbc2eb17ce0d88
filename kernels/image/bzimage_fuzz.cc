// Hostile kernel files and payloads in every compression: what unpacks must be ELF and within its limit.

#include "base/testing/require.h"
#include "kernels/image/bzimage.h"
#include "kernels/image/synthetic_kernel.h"
#include "kernels/image/synthetic_patch.h"

namespace {

using namespace panicroom;           // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::kernels;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kLimit = std::size_t{1} << 20;

// A kernel in every compression, bare and as a bzImage.
const std::vector<std::byte>& file_of(std::uint8_t choice) {
  static const auto kFiles = [] {
    std::vector<std::vector<std::byte>> files;
    const auto elf = testing::build_kernel({});
    for (const Compression compression : {Compression::kGzip, Compression::kXz, Compression::kLzma, Compression::kZstd,
                                          Compression::kLz4, Compression::kBzip2, Compression::kLzo}) {
      files.push_back(testing::compress(compression, elf));
      files.push_back(testing::build_bzimage(files.back(), "6.1.0-test-amd64 (tester)"));
    }
    return files;
  }();
  return kFiles[choice % kFiles.size()];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Bytes input = std::as_bytes(std::span(data, size)).subspan(2);
  const bool raw = data[0] % 4 == 0;
  std::vector<std::byte> file =
      raw ? std::vector(input.begin(), input.end()) : testing::patched(file_of(data[1]), input);
  const std::size_t file_size = file.size();
  if (const auto header = parse_setup_header(file)) {
    require(header->payload_begin < header->payload_end && header->payload_end <= file_size);
  }
  const auto kernel = unpack_kernel(std::move(file), kLimit);
  if (!kernel) {
    require(!kernel.error().message().empty());
    return 0;
  }
  require(as_text(kernel->elf)
              .starts_with("\x7f"
                           "ELF"));
  require(kernel->elf.size() <= (kernel->compression == Compression::kNone ? file_size : kLimit));
  return 0;
}
