#include "kernels/image/kaslr.h"

#include <gmock/gmock.h>

#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint64_t kSlide = 0x12600000;

KernelImage sample_kernel() { return KernelImage::from_file_content("synthetic", testing::build_kernel({})).value(); }

// A guest's memory: the IDT and the banner, wherever the test wants them.
class Guest {
 public:
  Guest(const KernelImage& image, std::uint64_t slide, Gva idt = kFixedIdtBase) : idt_(idt) {
    set_gate(0, image.symbols().unique("asm_exc_divide_error")->address.value + slide);
    set_gate(2, image.symbols().unique("asm_exc_nmi")->address.value + slide);
    set_gate(14, image.symbols().unique("asm_exc_page_fault")->address.value + slide);
    set_gate(0xf8, image.symbols().unique("asm_sysvec_reboot")->address.value + slide);
    set_text(image.symbols().unique("linux_banner")->address.value + slide, image.banner());
  }

  // Intel SDM Vol. 3A, Figure 6-8.
  void set_gate(unsigned vector, std::uint64_t handler, std::uint8_t type = 0x8e) {
    std::string gate(16, '\0');
    const auto put = [&](std::size_t offset, std::size_t shift, std::size_t size) {
      const std::uint64_t part = handler >> shift;
      std::memcpy(gate.data() + offset, &part, size);
    };
    put(0, 0, 2);
    gate[2] = 0x10;
    gate[5] = static_cast<char>(type);
    put(6, 16, 2);
    put(8, 32, 4);
    set_text(idt_.value + std::uint64_t{vector} * 16, gate);
  }

  void set_text(std::uint64_t at, std::string_view text) {
    for (const char c : text) memory_[at++] = static_cast<std::byte>(c);
  }

  [[nodiscard]] GuestReader reader() const {
    return [this](Gva at, std::span<std::byte> to) -> Result<> {
      for (std::byte& byte : to) {
        const auto found = memory_.find(at.value);
        if (found == memory_.end()) return host_error("no page at {}", at);
        byte = found->second;
        at = at + 1;
      }
      return {};
    };
  }

 private:
  Gva idt_;
  std::map<std::uint64_t, std::byte> memory_;
};

std::string message_of(const Result<KaslrSlide>& slide) { return slide ? "no error" : slide.error().message(); }

TEST(FindKaslrSlide, AgreesWithTheGuest) {
  const KernelImage image = sample_kernel();
  for (const std::uint64_t bytes : {std::uint64_t{0}, kSlide}) {
    const Guest guest(image, bytes);
    const auto slide = find_kaslr_slide(image, guest.reader());
    ASSERT_TRUE(slide) << slide.error().message();
    EXPECT_EQ(slide->bytes, bytes);
  }
}

TEST(FindKaslrSlide, TakesTheIdtWhereItIsTold) {
  const KernelImage image = sample_kernel();
  const Guest guest(image, kSlide, Gva{0xffffc90000000000});
  EXPECT_EQ(find_kaslr_slide(image, guest.reader(), Gva{0xffffc90000000000}).value().bytes, kSlide);
}

TEST(FindKaslrSlide, NamesTheGateThatDisagrees) {
  const KernelImage image = sample_kernel();
  for (const unsigned vector : {2U, 14U, 0xf8U}) {
    Guest guest(image, kSlide);
    guest.set_gate(vector, 0xffffffff93a00000);
    const auto slide = find_kaslr_slide(image, guest.reader());
    ASSERT_FALSE(slide);
    EXPECT_EQ(slide.error().kind(), ErrorKind::kHost);
    EXPECT_THAT(slide.error().message(), HasSubstr(fmt::format("gate {:#x} leads to 0xffffffff93a00000", vector)));
  }
}

TEST(FindKaslrSlide, WithoutAnIdtTheBannerTells) {
  const KernelImage image = sample_kernel();
  const Gva elsewhere{0xffffc90000000000};  // So that nothing is mapped at the fixed address.
  for (const std::uint64_t bytes : {std::uint64_t{0}, kSlide}) {
    EXPECT_EQ(find_kaslr_slide(image, Guest(image, bytes, elsewhere).reader()).value().bytes, bytes);
  }
  for (const int type : {0x0e, 0x85, 0x00}) {  // Not present, no gate, as FRED leaves it.
    Guest guest(image, kSlide);
    guest.set_gate(0, 0, static_cast<std::uint8_t>(type));
    EXPECT_EQ(find_kaslr_slide(image, guest.reader()).value().bytes, kSlide);
  }
}

TEST(FindKaslrSlide, TheBannerMustLieAtExactlyOnePlace) {
  const KernelImage image = sample_kernel();
  const Gva elsewhere{0xffffc90000000000};
  Guest another(image, kSlide, elsewhere);
  another.set_text(testing::kSyntheticRodata + kSlide, "Linux version 6.1.0-else");
  EXPECT_THAT(message_of(find_kaslr_slide(image, another.reader())),
              ::testing::AllOf(StartsWith("reading gate 0x0 of the IDT"), HasSubstr("nowhere in the kernel's range")));
  Guest twice(image, kSlide, elsewhere);
  twice.set_text(testing::kSyntheticRodata, image.banner());
  EXPECT_THAT(message_of(find_kaslr_slide(image, twice.reader())), HasSubstr("lies at 0xffffffff82000000 and at"));
  Guest untrue(image, kSlide);
  untrue.set_gate(0, testing::kSyntheticText, 0x00);
  untrue.set_text(testing::kSyntheticRodata + kSlide, "l");
  EXPECT_THAT(message_of(find_kaslr_slide(image, untrue.reader())), HasSubstr("no present interrupt or trap gate"));
}

TEST(FindKaslrSlide, RefusesASlideThatKaslrCannotGive) {
  const KernelImage image = sample_kernel();
  EXPECT_THAT(message_of(find_kaslr_slide(image, Guest(image, 0x12601000).reader())), HasSubstr("multiple of 2 MiB"));
  EXPECT_THAT(message_of(find_kaslr_slide(image, Guest(image, 0x3f000000).reader())), HasSubstr("out of its range"));
  EXPECT_THAT(message_of(find_kaslr_slide(image, Guest(image, ~std::uint64_t{0} << 21).reader())),
              HasSubstr("out of its range"));
}

TEST(FindKaslrSlide, WantsTheBannerInItsPlace) {
  const KernelImage image = sample_kernel();
  Guest guest(image, kSlide);
  guest.set_text(testing::kSyntheticRodata + kSlide, "Linux version 6.1.0-else");
  EXPECT_THAT(message_of(find_kaslr_slide(image, guest.reader())), HasSubstr("linux_banner would be at"));
}

}  // namespace
}  // namespace panicroom::kernels
