// `panicroom kernels inspect` as a user runs it: what it shows of a kernel, and what it says of files that are none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/file.h"
#include "kernels/image/kernel_image.h"
#include "kernels/image/synthetic_kernel.h"
#include "kernels/packages/synthetic_package.h"
#include "kernels/points/named_points.h"
#include "kernels/points/resolver.h"
#include "tests/command_line.h"

namespace panicroom::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class KernelsTest : public testing::Test {
 protected:
  // With a cache of its own.
  CommandResult inspect(const std::filesystem::path& reference) {
    return panicroom({"kernels", "inspect", reference.native()}, {{"XDG_CACHE_HOME", scratch_.path().native()}});
  }
  std::filesystem::path file(const std::string& name, Bytes content) { return scratch_.file(name, as_text(content)); }
  Scratch scratch_;
};

TEST_F(KernelsTest, InspectShowsEveryPointAndEverySite) {
  if (!test_kernel()) GTEST_SKIP() << no_kernel();
  const auto result = inspect(*test_kernel());
  ASSERT_EQ(result.status, 0) << result.err;
  const auto kernel = kernels::KernelImage::load(*test_kernel());
  ASSERT_TRUE(kernel) << kernel.error().message();
  for (const char* fact : {"release ", "flavour ", "banner ", "compression ", "symbols ", "BTF ", "configuration "}) {
    EXPECT_THAT(result.out, HasSubstr(fact));
  }
  EXPECT_THAT(result.out, AllOf(HasSubstr(kernel->release()), HasSubstr("CONFIG_KEXEC_FILE"), HasSubstr("pause loop"),
                                HasSubstr("local APIC"), Not(HasSubstr("not found"))));
  for (const auto& entry : kernels::kNamedPoints) {
    const auto point = kernels::resolve_named_point(*kernel, entry);
    ASSERT_TRUE(point) << point.error().message();
    for (const auto at : point->at) {
      EXPECT_THAT(result.out, HasSubstr(fmt::format("  {:<26} {} ", entry.name, at)));
    }
  }
  const auto sites = kernels::icr_stores(*kernel);
  ASSERT_TRUE(sites) << sites.error().message();
  for (const auto& site : *sites) {
    EXPECT_THAT(result.out, HasSubstr(fmt::format("  {:<26} {} ", "ICR store", site.at)));
  }
}

TEST_F(KernelsTest, APointThatAKernelLacksIsSaidToBeMissing) {
  const auto result = inspect(file("vmlinux", kernels::testing::build_kernel({})));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("reset                      not found: "),
                                HasSubstr("ICR store                  not found: "),
                                HasSubstr("points are not found: scenarios that name them are skipped")));
}

TEST_F(KernelsTest, ATruncatedPackageIsNamedAndLeavesNothing) {
  auto deb = kernels::make_deb({{"./boot/vmlinuz-6.1.0-1-amd64", kernels::synthetic_bzimage(), "", false}});
  deb.resize(deb.size() * 2 / 3);
  const auto package = file("linux-image.deb", deb);
  const auto result = inspect(package);
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr(package.native()));
  for (const char* folder : {"panicroom/packages", "panicroom/unfinished"}) {
    std::error_code error;
    EXPECT_TRUE(!std::filesystem::exists(scratch_.path() / folder) ||
                std::filesystem::is_empty(scratch_.path() / folder, error))
        << folder;
  }
}

TEST_F(KernelsTest, AnImageWithGarbageForKallsymsIsSaidToHaveIt) {
  auto kernel = kernels::testing::build_kernel({});
  // The token table's digits, and before them the tokens and the markers.
  const auto digits = as_text(kernel).rfind(std::string_view("0\0001\0002\0003\0", 8));
  ASSERT_NE(digits, std::string_view::npos);
  std::fill_n(kernel.begin() + static_cast<std::ptrdiff_t>(digits) - 400, 400, std::byte{0xee});
  const auto image = file("vmlinux", kernel);
  const auto result = inspect(image);
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, AllOf(HasSubstr(image.native()), HasSubstr("kallsyms")));
}

TEST_F(KernelsTest, AnotherArchitectureIsNamed) {
  std::string arm64(4096, '\0');
  arm64.replace(0x38, 4, "ARM\x64");
  const auto result = inspect(scratch_.file("Image", arm64));
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("unsupported architecture: an arm64 Image"));
}

}  // namespace
}  // namespace panicroom::tests
