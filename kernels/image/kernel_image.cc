#include "kernels/image/kernel_image.h"

#include <string_view>
#include <utility>

#include "base/file.h"

namespace panicroom::kernels {
namespace {

constexpr std::string_view kBannerStart = "Linux version ";

// linux_banner up to its newline.
Result<std::string> read_banner(const ElfImage& elf, const SymbolTable& symbols) {
  const Symbol symbol = TRY(symbols.unique("linux_banner"));
  constexpr std::size_t kMaxBanner = 1024;
  const std::string_view text = as_text(elf.bytes_from(symbol.address)).substr(0, kMaxBanner);
  const std::size_t end = text.find_first_of(std::string_view("\n\0", 2));
  if (!text.starts_with(kBannerStart) || end == std::string_view::npos) {
    return invalid_input("linux_banner at {} does not hold the kernel's banner", symbol.address);
  }
  return std::string(text.substr(0, end));
}

std::string_view first_word(std::string_view text) { return text.substr(0, text.find(' ')); }

}  // namespace

Result<KernelImage> KernelImage::load(const std::filesystem::path& path) {
  return from_file_content(path, TRY(read_file(path)));
}

Result<KernelImage> KernelImage::from_file_content(std::filesystem::path path, std::vector<std::byte> content) {
  const std::string name = path.string();
  UnpackedKernel unpacked = TRY_CONTEXT(name, unpack_kernel(std::move(content)));
  ElfImage elf = TRY_CONTEXT(name, ElfImage::parse(std::move(unpacked.elf)));
  Kallsyms kallsyms = TRY_CONTEXT(name, decode_kallsyms(elf));
  std::string banner = TRY_CONTEXT(name, read_banner(elf, kallsyms.symbols));

  KernelImage image(std::move(elf), std::move(kallsyms));
  image.release_ = first_word(std::string_view(banner).substr(kBannerStart.size()));
  if (unpacked.setup && !unpacked.setup->kernel_version.empty() &&
      first_word(unpacked.setup->kernel_version) != image.release_) {
    return invalid_input("{}: the setup header says kernel {}, the payload says {}", name,
                         first_word(unpacked.setup->kernel_version), image.release_);
  }
  image.path_ = std::move(path);
  image.banner_ = std::move(banner);
  image.compression_ = unpacked.compression;
  image.setup_ = std::move(unpacked.setup);
  return image;
}

}  // namespace panicroom::kernels
