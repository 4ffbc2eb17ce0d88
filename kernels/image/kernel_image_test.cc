#include "kernels/image/kernel_image.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::byte> synthetic_bzimage(const std::string& version) {
  return testing::build_bzimage(testing::compress(Compression::kXz, testing::build_kernel({})), version);
}

TEST(KernelImage, KnowsWhatItIs) {
  const auto image = KernelImage::from_file_content("k/vmlinuz", synthetic_bzimage("6.1.0-test-amd64 (tester) #1 SMP"));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->path(), "k/vmlinuz");
  EXPECT_EQ(image->release(), testing::kSyntheticRelease);
  EXPECT_EQ(image->banner(), testing::kSyntheticBanner);
  EXPECT_EQ(image->compression(), Compression::kXz);
  EXPECT_EQ(image->setup_header()->kernel_alignment, 0x200000U);
  EXPECT_EQ(image->symbols().size(), testing::kernel_symbols({}).size());
  EXPECT_EQ(image->kallsyms_layout(), KallsymsLayout::kOffsetsFirstAbsolutePerCpu);
}

TEST(KernelImage, KeepsItsNamesAndBytesWhenMoved) {
  auto image = KernelImage::from_file_content("k", testing::build_kernel({}));
  ASSERT_TRUE(image);
  const std::string_view name = image->symbols().unique("panic")->name;
  const std::byte* text = image->elf().bytes_at({testing::kSyntheticText}, 1)->data();
  const KernelImage moved = *std::move(image);
  EXPECT_EQ(moved.symbols().unique("panic")->name.data(), name.data());
  EXPECT_EQ(moved.elf().bytes_at({testing::kSyntheticText}, 1)->data(), text);
}

TEST(KernelImage, NamesTheFileInEveryError) {
  const auto missing = KernelImage::load("/nonexistent/vmlinuz");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message(), HasSubstr("/nonexistent/vmlinuz"));
  auto truncated_file = synthetic_bzimage("6.1.0-test-amd64");
  truncated_file.resize(truncated_file.size() - 100);
  const auto truncated = KernelImage::from_file_content("k/vmlinuz", std::move(truncated_file));
  ASSERT_FALSE(truncated);
  EXPECT_THAT(truncated.error().message(), StartsWith("k/vmlinuz: truncated: payload ends at "));
  const auto mixed = KernelImage::from_file_content("k/vmlinuz", synthetic_bzimage("5.0.0-other (tester)"));
  ASSERT_FALSE(mixed);
  EXPECT_THAT(mixed.error().message(),
              AllOf(StartsWith("k/vmlinuz: "), HasSubstr("5.0.0-other"), HasSubstr(testing::kSyntheticRelease)));
}

// A distribution's kernel, where the test's caller has one.
class RealKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("PANICROOM_TEST_KERNEL");
    if (path == nullptr || *path == '\0') GTEST_SKIP() << "PANICROOM_TEST_KERNEL names no kernel file";
    path_ = path;
  }
  std::string path_;
};

TEST_F(RealKernel, HasSymbolsWhereItsSectionsAndCodeAre) {
  const auto image = KernelImage::load(path_);
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_TRUE(image->banner().starts_with("Linux version " + image->release() + " "));
  EXPECT_GT(image->symbols().size(), 50'000U);

  const SymbolTable& symbols = image->symbols();
  const Section* text = image->elf().section(".text");
  ASSERT_NE(text, nullptr);
  EXPECT_EQ(symbols.unique("_text")->address, text->range.begin);
  const Section* init_text = image->elf().section(".init.text");
  ASSERT_NE(init_text, nullptr);
  EXPECT_EQ(symbols.unique("_sinittext")->address, init_text->range.begin);

  for (const char* name : {"panic", "__crash_kexec", "machine_kexec", "asm_exc_divide_error", "asm_exc_nmi",
                           "asm_exc_page_fault", "asm_sysvec_reboot", "panic_smp_self_stop"}) {
    const auto symbol = symbols.unique(name);
    ASSERT_TRUE(symbol) << symbol.error().message();
    EXPECT_TRUE(symbol->text) << name;
    const auto extent = symbols.extent(*symbol);
    ASSERT_TRUE(extent);
    EXPECT_GT(extent->size(), 0U) << name;
    EXPECT_EQ(symbols.containing(extent->end - 1)->symbol.address, symbol->address) << name;
    EXPECT_TRUE(image->elf().bytes_at(symbol->address, extent->size())) << name;
  }
  EXPECT_FALSE(symbols.unique("panic_cpu")->text);
  // panic_smp_self_stop() is `pause; jmp` everywhere: the address and the bytes at it belong together.
  const auto stop = image->elf().bytes_at(symbols.unique("panic_smp_self_stop")->address, 32);
  ASSERT_TRUE(stop);
  EXPECT_NE(as_text(*stop).find("\xf3\x90\xeb\xfc"), std::string_view::npos);
}

TEST_F(RealKernel, FailsCleanlyWhereverItIsCutOff) {
  const auto file = read_file(path_);
  ASSERT_TRUE(file);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{100}, std::size_t{0x210}, std::size_t{4096}, file->size() / 2}) {
    const auto image =
        KernelImage::from_file_content(path_, {file->begin(), file->begin() + static_cast<std::ptrdiff_t>(size)});
    ASSERT_FALSE(image) << size;
    EXPECT_EQ(image.error().kind(), ErrorKind::kInvalidInput);
    EXPECT_THAT(image.error().message(), StartsWith(path_ + ": "));
  }
}

}  // namespace
}  // namespace panicroom::kernels
