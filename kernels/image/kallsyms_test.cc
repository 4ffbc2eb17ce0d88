#include "kernels/image/kallsyms.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cctype>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels {
namespace {

using testing::KallsymsOptions;

std::vector<KallsymsOptions> every_layout() {
  std::vector<KallsymsOptions> all;
  for (const KallsymsLayout layout :
       {KallsymsLayout::kOffsetsFirstAbsolutePerCpu, KallsymsLayout::kOffsetsLastAbsolutePerCpu,
        KallsymsLayout::kOffsetsLastUnsigned, KallsymsLayout::kOffsetsLastSelfRelative,
        KallsymsLayout::kOffsetsFirstUnsigned}) {
    for (const bool sequences : {false, true}) {
      for (const bool long_names : {false, true}) {
        for (const std::size_t alignment : {std::size_t{4}, std::size_t{8}})
          all.push_back({layout, sequences, long_names, alignment});
      }
    }
  }
  return all;
}

class DecodeKallsyms : public ::testing::TestWithParam<KallsymsOptions> {};

TEST_P(DecodeKallsyms, FindsEverySymbol) {
  const auto elf = ElfImage::parse(testing::build_kernel(GetParam()));
  ASSERT_TRUE(elf) << elf.error().message();
  const auto kallsyms = decode_kallsyms(*elf);
  ASSERT_TRUE(kallsyms) << kallsyms.error().message();
  EXPECT_EQ(kallsyms->layout, GetParam().layout);

  const auto expected = testing::kernel_symbols(GetParam());
  const auto found = kallsyms->symbols.all();
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(std::tuple(found[i].address.value, found[i].type, found[i].name),
              std::tuple(expected[i].address, expected[i].type, std::string_view(expected[i].name)));
  }
}

TEST_P(DecodeKallsyms, FailsOrAgreesWithItselfOnDamagedTables) {
  const auto kernel = testing::build_kernel(GetParam());
  std::mt19937 random(1);
  for (int i = 0; i < 10; ++i) {
    auto damaged = kernel;
    for (int bytes = 0; bytes < 3; ++bytes) damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    const auto elf = ElfImage::parse(std::move(damaged));
    if (!elf) continue;
    const auto kallsyms = decode_kallsyms(*elf);
    if (!kallsyms) {
      EXPECT_FALSE(kallsyms.error().message().empty());
      continue;
    }
    EXPECT_EQ(kallsyms->symbols.size(), testing::kernel_symbols(GetParam()).size());
  }
}

INSTANTIATE_TEST_SUITE_P(EveryLayout, DecodeKallsyms, ::testing::ValuesIn(every_layout()), [](const auto& param_info) {
  std::string name = std::string(kallsyms_layout_name(param_info.param.layout)) +
                     (param_info.param.sequences ? " sequences" : "") +
                     (param_info.param.long_names ? " long" : " short") + std::to_string(param_info.param.alignment);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

TEST(DecodeKallsymsErrors, SaysThatThereAreNoTables) {
  const auto elf = ElfImage::parse(
      testing::build_elf({{".text", testing::kSyntheticText, 6, std::vector<std::byte>(0x1000, std::byte{0x90})}}));
  ASSERT_TRUE(elf);
  const auto kallsyms = decode_kallsyms(*elf);
  ASSERT_FALSE(kallsyms);
  EXPECT_EQ(kallsyms.error().kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(kallsyms.error().message(), ::testing::HasSubstr("CONFIG_KALLSYMS"));
}

// The rodata of a sound kernel with one thing spoilt; its error.
template <typename Spoil>
std::string error_after(Spoil spoil) {
  auto kernel = testing::build_kernel({});
  spoil(kernel);
  const auto elf = ElfImage::parse(std::move(kernel));
  if (!elf) return elf.error().message();
  const auto kallsyms = decode_kallsyms(*elf);
  return kallsyms ? "no error" : kallsyms.error().message();
}

std::size_t find(const std::vector<std::byte>& file, std::string_view text) { return as_text(file).find(text); }

TEST(DecodeKallsymsErrors, NamesTheTableThatDoesNotHold) {
  // A name's length byte: the names no longer end at their markers.
  EXPECT_THAT(error_after([](auto& file) {
                const std::size_t at = find(file, "panic_cpu");
                ASSERT_NE(at, std::string::npos);
                file[at - 2] = std::byte{3};
              }),
              ::testing::HasSubstr("no markers and names before it that fit together"));
  // A character that no symbol has.
  EXPECT_THAT(error_after([](auto& file) { file[find(file, "panic_cpu")] = std::byte{0x80}; }),
              ::testing::HasSubstr("no error"))
      << "0x80 is a token, so this is another name, but still a name";
  // The banner elsewhere than the addresses say.
  EXPECT_THAT(error_after([](auto& file) { file[find(file, "Linux version")] = std::byte{'l'}; }),
              ::testing::HasSubstr("no known layout of the address table"));
}

}  // namespace
}  // namespace panicroom::kernels
