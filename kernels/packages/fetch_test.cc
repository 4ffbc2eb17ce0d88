// Against the archive that this host's apt is configured with: the default kernel, fetched and verified for real.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>

#include "base/bytes.h"
#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "kernels/packages/apt_archive.h"
#include "kernels/packages/kernel_store.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;

class FetchTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const fs::path cache_ = directory_.path();
};

TEST_F(FetchTest, TheDefaultKernelIsFetchedOnceAndStaysUsableOffline) {
  const auto reference = default_reference();
  if (!reference) GTEST_SKIP() << reference.error().message();
  const auto& suite = std::get<DebianSuiteKernel>(reference->target()).suite;
  int downloads = 0;
  const ProgressSink progress = [&](std::string_view line) {
    if (line.starts_with("fetching")) ++downloads;
    std::cout << line << std::endl;
  };
  AptArchive probe(cache_ / "apt");
  const auto reachable = probe.find(suite, "linux-image-cloud-amd64", Lists::kUpdated, progress);
  if (!reachable) {
    std::cout << "skipped: apt's mirror cannot be used: " << reachable.error().message() << std::endl;
    GTEST_SKIP() << reachable.error().message();
  }

  KernelStore store(cache_);
  const auto kernel = store.ensure(*reference, progress);
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_GT(downloads, 0);
  EXPECT_THAT(kernel->release, testing::EndsWith("-cloud-amd64"));
  const auto image = read_file(kernel->image);
  ASSERT_TRUE(image);
  EXPECT_EQ(load<std::uint32_t>(Bytes(*image), 0x202), 0x53726448U);  // "HdrS", boot.rst.
  EXPECT_TRUE(fs::exists(kernel->modules / "modules.builtin"));

  // The lists are fresh and the kernel is there: nothing is left to do, nor to ask the network.
  downloads = 0;
  KernelStore offline(cache_, std::make_unique<AptArchive>(cache_ / "apt", AptMirrors{{"http://127.0.0.1:9"}, {}}), {});
  const auto again = offline.ensure(*reference, progress);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->image, kernel->image);
  EXPECT_EQ(downloads, 0);
  const auto by_release = KernelRef::parse("debian:" + kernel->release);
  ASSERT_TRUE(by_release);
  EXPECT_EQ(offline.ensure(*by_release, progress)->image, kernel->image);

  // Lists that are too old and no network: the old ones, with a notice.
  for (const auto& pocket : fs::directory_iterator(cache_ / "apt")) {
    const auto mark = pocket.path() / "updated";
    if (fs::exists(mark)) fs::last_write_time(mark, fs::file_time_type::clock::now() - std::chrono::hours(25));
  }
  std::string notices;
  const auto stale = offline.ensure(*reference, [&](std::string_view line) { notices.append(line).append("\n"); });
  ASSERT_TRUE(stale) << stale.error().message();
  EXPECT_EQ(stale->image, kernel->image);
  EXPECT_THAT(notices, testing::HasSubstr("using the old package lists of " + suite));
}

}  // namespace
}  // namespace panicroom::kernels
