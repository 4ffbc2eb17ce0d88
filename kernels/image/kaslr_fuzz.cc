// A hostile guest's memory, asked for its slide: what is found is one that KASLR can give, with the banner in its
// place.
#include <cstring>

#include "base/testing/require.h"
#include "kernels/image/kaslr.h"
#include "kernels/image/synthetic_kernel.h"

namespace {

using namespace panicroom;           // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::kernels;  // NOLINT(google-build-using-namespace)

const KernelImage& image() {
  static const KernelImage kImage =
      KernelImage::from_file_content("synthetic", kernels::testing::build_kernel({})).value();
  return kImage;
}

}  // namespace

// One byte chooses the slide at which the banner really is, in steps of 2 MiB; the rest is the IDT.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes idt = std::as_bytes(std::span(data, size)).subspan(1);
  const Gva banner =
      image().symbols().unique("linux_banner").value().address + KaslrSlide{std::uint64_t{data[0]} << 21};
  const Bytes text = as_bytes(image().banner());
  const GuestReader read = [&](Gva at, std::span<std::byte> into) -> Result<> {
    const auto copy = [&](Bytes from, Gva base) {
      const auto part = slice(from, static_cast<std::size_t>(at - base), into.size());
      if (!part) return false;
      std::memcpy(into.data(), part->data(), into.size());
      return true;
    };
    if ((at >= kFixedIdtBase && copy(idt, kFixedIdtBase)) || (at >= banner && copy(text, banner))) return {};
    return host_error("no page at {}", at);
  };
  const auto slide = find_kaslr_slide(image(), read);
  if (!slide) {
    require(slide.error().kind() == ErrorKind::kHost && !slide.error().message().empty());
    return 0;
  }
  require(slide->bytes == std::uint64_t{data[0]} << 21);
  return 0;
}
