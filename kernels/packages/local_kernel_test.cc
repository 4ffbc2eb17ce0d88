#include "kernels/packages/local_kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "kernels/image/kernel_image.h"
#include "kernels/packages/synthetic_package.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LocalKernelTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const fs::path root_ = directory_.path();

  fs::path put(const fs::path& path, const std::string& content = "x") {
    fs::create_directories((root_ / path).parent_path());
    EXPECT_TRUE(write_file(root_ / path, content));
    return root_ / path;
  }
  fs::path put(const fs::path& path, const std::vector<std::byte>& content) {
    return put(path, std::string(as_text(content)));
  }
  Result<StoredKernel> unpack(const fs::path& package) {
    return kernel_of_package(package, root_ / "cache", [this](std::string_view) { ++tellings_; });
  }
  int tellings_ = 0;
};

// As Fedora's kernel-core has them.
const std::string kFedora = "6.11.4-301.fc41.x86_64";
std::vector<SyntheticEntry> fedora_entries() {
  return {{"./lib/modules/" + kFedora + "/vmlinuz", synthetic_bzimage(), "", false},
          {"./lib/modules/" + kFedora + "/config", "CONFIG_KEXEC_FILE=y\n", "", false},
          {"./lib/modules/" + kFedora + "/kernel/a.ko.xz", "module", "", false},
          {"./usr/share/licenses/COPYING", "text", "", false}};
}

TEST_F(LocalKernelTest, AnUnpackedTreeOfEachLayout) {
  put("debian/boot/vmlinuz-6.1.0-1-amd64");
  put("debian/boot/config-6.1.0-1-amd64");
  put("debian/lib/modules/6.1.0-1-amd64/modules.builtin");
  auto kernel = kernel_in_folder(root_ / "debian");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, "6.1.0-1-amd64");
  EXPECT_TRUE(fs::equivalent(kernel->modules, root_ / "debian/lib/modules/6.1.0-1-amd64"));
  EXPECT_EQ(kernel->config, root_ / "debian/boot/config-6.1.0-1-amd64");

  put("fedora/lib/modules/" + kFedora + "/vmlinuz");
  put("fedora/lib/modules/" + kFedora + "/config");
  put("fedora/lib/modules/" + kFedora + "/modules.builtin");
  kernel = kernel_in_folder(root_ / "fedora");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, kFedora);
  EXPECT_EQ(kernel->modules, root_ / "fedora/lib/modules" / kFedora);
  EXPECT_EQ(kernel->config, kernel->modules / "config");

  put("arch/usr/lib/modules/6.11.5-arch1-1/vmlinuz");
  put("arch/boot/vmlinuz-linux");
  kernel = kernel_in_folder(root_ / "arch");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, "6.11.5-arch1-1");

  put("build/arch/x86/boot/bzImage");
  put("build/.config");
  kernel = kernel_in_folder(root_ / "build");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_TRUE(fs::equivalent(kernel->config, root_ / "build/.config"));
  EXPECT_EQ(kernel->release, "");
}

TEST_F(LocalKernelTest, TheSameReleaseInTwoPlacesIsOneKernel) {
  const auto image = put("boot/vmlinuz-6.1.0-1-amd64");
  put("usr/lib/modules/6.1.0-1-amd64/vmlinuz");
  const auto kernel = kernel_in_folder(root_);
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->image, image);
}

TEST_F(LocalKernelTest, SeveralKernelsAreNamedAndNoneIsChosen) {
  put("boot/vmlinuz-6.1.0-1-amd64");
  put("boot/vmlinuz-6.1.0-2-amd64");
  put("boot/vmlinuz-6.1.0-2-amd64.old");
  const auto kernel = kernel_in_folder(root_);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(kernel.error().message(), HasSubstr("boot/vmlinuz-6.1.0-1-amd64"));
  EXPECT_THAT(kernel.error().message(), HasSubstr("boot/vmlinuz-6.1.0-2-amd64"));
  EXPECT_EQ(kernel.error().message().find(".old"), std::string::npos);
}

TEST_F(LocalKernelTest, AFolderWithoutAKernel) {
  put("usr/share/doc/x");
  const auto kernel = kernel_in_folder(root_);
  ASSERT_FALSE(kernel);
  EXPECT_THAT(kernel.error().message(), HasSubstr("holds no kernel image"));
}

class LocalPackageTest : public LocalKernelTest,
                         public testing::WithParamInterface<std::vector<std::byte> (*)(
                             const std::vector<SyntheticEntry>&, PackageCompression)> {};

TEST_P(LocalPackageTest, IsUnpackedOnceByItsContent) {
  const auto bytes = GetParam()(fedora_entries(), PackageCompression::kZstd);
  const auto kernel = unpack(put("kernel-core.pkg", bytes));
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, kFedora);
  EXPECT_EQ(*read_text_file(kernel->image), synthetic_bzimage());
  EXPECT_EQ(*read_text_file(kernel->config), "CONFIG_KEXEC_FILE=y\n");
  EXPECT_EQ(*read_text_file(kernel->modules / "kernel/a.ko.xz"), "module");
  EXPECT_GT(tellings_, 0);
  tellings_ = 0;
  const auto again = unpack(put("elsewhere/other-name", bytes));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->image, kernel->image);
  EXPECT_EQ(tellings_, 0);
  ASSERT_EQ(unpacked_kernels(root_ / "cache").size(), 1U);
  EXPECT_TRUE(fs::is_empty(root_ / "cache/unfinished"));
}

TEST_P(LocalPackageTest, ATruncatedOneLeavesNothing) {
  auto bytes = GetParam()(fedora_entries(), PackageCompression::kXz);
  bytes.resize(bytes.size() * 2 / 3);
  const auto package = put("kernel.pkg", bytes);
  const auto kernel = unpack(package);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(kernel.error().message(), HasSubstr(package.native()));
  EXPECT_TRUE(unpacked_kernels(root_ / "cache").empty());
  EXPECT_TRUE(fs::is_empty(root_ / "cache/unfinished"));
}

TEST_P(LocalPackageTest, OneWithoutAnImageSaysWhichOneToName) {
  const auto kernel = unpack(put("kernel-modules.pkg", GetParam()({{"./lib/modules/6.1.0/kernel/a.ko", "m", "", false}},
                                                                  PackageCompression::kGzip)));
  ASSERT_FALSE(kernel);
  EXPECT_THAT(kernel.error().message(), HasSubstr("holds no kernel image"));
  EXPECT_THAT(kernel.error().message(), HasSubstr("kernel-core"));
}

TEST_P(LocalPackageTest, AKilledUnpackingLeavesNoHalfKernel) {
  const auto package = put("kernel.pkg", GetParam()(fedora_entries(), PackageCompression::kXz));
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    (void)kernel_of_package(package, root_ / "cache", [](std::string_view) { ::raise(SIGKILL); });
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(unpacked_kernels(root_ / "cache").empty());
  ASSERT_TRUE(unpack(package));
  EXPECT_TRUE(fs::is_empty(root_ / "cache/unfinished"));
}

TEST_P(LocalPackageTest, AnArm64KernelIsSaidToBeOne) {
  std::string image(4096, '\0');
  image.replace(0x38, 4, "ARM\x64");  // "magic" in the kernel's Documentation/arch/arm64/booting.rst.
  const auto kernel = unpack(put(
      "linux-image.pkg", GetParam()({{"./boot/vmlinuz-6.1.0-1-arm64", image, "", false}}, PackageCompression::kXz)));
  ASSERT_TRUE(kernel) << kernel.error().message();
  const auto loaded = KernelImage::load(kernel->image);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(loaded.error().message(), HasSubstr("unsupported architecture: an arm64 Image"));
}

INSTANTIATE_TEST_SUITE_P(All, LocalPackageTest, testing::Values(&make_deb, &make_rpm));

TEST_F(LocalKernelTest, TellsPackagesFromImages) {
  EXPECT_TRUE(is_package_file(put("a", make_deb({{"b", "c", "", false}}))));
  EXPECT_TRUE(is_package_file(put("b", make_rpm({{"b", "c", "", false}}))));
  EXPECT_FALSE(is_package_file(put("c", synthetic_bzimage())));
  EXPECT_FALSE(is_package_file(put("d", "")));
  EXPECT_FALSE(is_package_file(root_ / "absent"));
}

}  // namespace
}  // namespace panicroom::kernels
