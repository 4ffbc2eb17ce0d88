#include "kernels/packages/kernel_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <map>

#include "base/file.h"
#include "base/testing/temporary_directory.h"
#include "kernels/packages/cache_lock.h"
#include "kernels/packages/kernel_tree.h"
#include "kernels/packages/synthetic_package.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

// An archive in memory, with the same manners as apt's.
class MemoryArchive : public PackageArchive {
 public:
  struct Package {
    PackageRecord record;
    std::vector<std::byte> deb;
  };

  void add(const std::string& suite, const std::string& name, const std::string& version,
           std::vector<std::string> depends, std::vector<std::byte> deb = {}) {
    suites[suite].push_back({PackageRecord{name, version, std::move(depends), deb.size(), suite}, std::move(deb)});
  }

  Result<std::vector<PackageRecord>> find(const std::string& suite, const std::string& package, Lists lists,
                                          const ProgressSink& /*progress*/) override {
    if (lists == Lists::kCached && !cached) return std::vector<PackageRecord>();
    if (lists != Lists::kCached) ++updates;
    if (offline && !cached) return host_error("no network");
    if (lists == Lists::kUpdated && on_update) on_update();
    std::vector<PackageRecord> found;
    for (const auto& entry : suites[suite]) {
      if (entry.record.name == package) found.push_back(entry.record);
    }
    if (lists != Lists::kCached) cached = true;
    return found;
  }

  Result<fs::path> download(const PackageRecord& package, const fs::path& folder,
                            const ProgressSink& /*progress*/) override {
    ++downloads;
    if (offline) return host_error("no network");
    if (package.name == vanished) return host_error("404: {}", package.name);
    for (const auto& [suite, packages] : suites) {
      for (const auto& entry : packages) {
        if (entry.record.name != package.name || entry.record.version != package.version) continue;
        const auto path = folder / "p.deb";
        TRY(write_file(path, Bytes(entry.deb)));
        if (after_download) after_download();
        return path;
      }
    }
    return host_error("404: {}", package.name);
  }

  std::map<std::string, std::vector<Package>> suites;
  bool offline = false;
  bool cached = false;
  std::string vanished;  // Listed, but no longer there.
  int updates = 0;
  int downloads = 0;
  std::function<void()> on_update;
  std::function<void()> after_download;
};

std::vector<std::byte> old_style_deb(const std::string& release) {
  return make_deb({{"./boot/vmlinuz-" + release, synthetic_bzimage(), "", false},
                   {"./boot/config-" + release, "CONFIG_KEXEC=y\n", "", false},
                   {"./lib/modules/" + release + "/kernel/a.ko", "module", "", false},
                   {"./usr/share/doc/x", "text", "", false}});
}

class KernelStoreTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  const fs::path root_ = directory_.path();

  void SetUp() override {
    auto archive = std::make_unique<MemoryArchive>();
    archive_ = archive.get();
    store_ = std::make_unique<KernelStore>(root_ / "cache", std::move(archive),
                                           KernelStore::HostFolders{root_ / "boot", root_ / "modules"});
  }

  Result<StoredKernel> ensure(std::string_view text) {
    return store_->ensure(TRY(KernelRef::parse(text)), [this](std::string_view line) { lines_.emplace_back(line); });
  }
  void add_bookworm() {
    archive_->add("bookworm", "linux-image-amd64", "6.1.99-1", {"linux-image-6.1.0-9-amd64"});
    archive_->add("bookworm", "linux-image-amd64", "6.1.192-1", {"linux-image-6.1.0-10-amd64"});
    archive_->add("bookworm", "linux-image-6.1.0-9-amd64", "6.1.99-1", {"kmod"}, old_style_deb("6.1.0-9-amd64"));
    archive_->add("bookworm", "linux-image-6.1.0-10-amd64", "6.1.192-1", {"kmod"}, old_style_deb("6.1.0-10-amd64"));
  }
  bool cache_is_clean() {
    std::error_code error;
    return store_->cached().empty() &&
           (!fs::exists(root_ / "cache/kernels") || fs::is_empty(root_ / "cache/kernels")) &&
           (!fs::exists(root_ / "cache/unfinished") || fs::is_empty(root_ / "cache/unfinished", error));
  }
  MemoryArchive* archive_ = nullptr;
  std::unique_ptr<KernelStore> store_;
  std::vector<std::string> lines_;
};

TEST_F(KernelStoreTest, TheNewestOfASuiteByVersionNotByAlphabet) {
  add_bookworm();
  const auto kernel = ensure("debian:bookworm/amd64");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, "6.1.0-10-amd64");
  EXPECT_EQ(kernel->package_version, "6.1.192-1");
  EXPECT_EQ(*read_text_file(kernel->image), synthetic_bzimage());
  EXPECT_EQ(*read_text_file(kernel->modules / "kernel/a.ko"), "module");
  EXPECT_EQ(*read_text_file(kernel->image.parent_path() / kConfigFile), "CONFIG_KEXEC=y\n");
  EXPECT_FALSE(fs::exists(kernel->image.parent_path() / "usr"));
}

TEST_F(KernelStoreTest, TellsWhatASuiteOffers) {
  add_bookworm();
  archive_->add("bookworm", "linux-image-rt-amd64", "6.1.192-1", {"linux-image-6.1.0-10-rt-amd64"});
  const auto offers = store_->offers("bookworm", Lists::kFresh, nullptr);
  ASSERT_TRUE(offers) << offers.error().message();
  ASSERT_EQ(offers->size(), 2U);  // No cloud-amd64 there.
  EXPECT_EQ((*offers)[0].flavour, "amd64");
  EXPECT_EQ((*offers)[0].release, "6.1.0-10-amd64");
  EXPECT_EQ((*offers)[0].package_version, "6.1.192-1");
  EXPECT_EQ((*offers)[1].flavour, "rt-amd64");
  EXPECT_EQ(archive_->downloads, 0);
  archive_->cached = false;
  archive_->offline = true;
  EXPECT_EQ(store_->offers("bookworm", Lists::kFresh, nullptr).error().kind(), ErrorKind::kHost);
}

TEST_F(KernelStoreTest, AFolderOrAPackageByItsPath) {
  const auto package = root_ / "kernel.rpm";
  ASSERT_TRUE(
      write_file(package, Bytes(make_rpm({{"./lib/modules/6.1-x.x86_64/vmlinuz", synthetic_bzimage(), "", false}}))));
  auto kernel = ensure(package.native());
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, "6.1-x.x86_64");
  ASSERT_EQ(store_->cached().size(), 1U);
  EXPECT_EQ(store_->cached()[0].image, kernel->image);
  EXPECT_FALSE(ensure("debian:6.1-x.amd64"));  // Another's kernel is never Debian's.
  fs::create_directories(root_ / "tree/boot");
  ASSERT_TRUE(write_file(root_ / "tree/boot/vmlinuz-6.1.0-1-amd64", "x"));
  kernel = ensure((root_ / "tree").native() + ":modules=" + root_.native());
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, "6.1.0-1-amd64");
  EXPECT_EQ(kernel->modules, root_);
}

TEST_F(KernelStoreTest, IsFetchedOnce) {
  add_bookworm();
  const auto first = ensure("debian:bookworm/amd64");
  ASSERT_TRUE(first);
  EXPECT_EQ(archive_->downloads, 1);
  archive_->offline = true;
  const auto again = ensure("debian:bookworm/amd64");
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->image, first->image);
  const int updates = archive_->updates;
  ASSERT_TRUE(ensure("debian:6.1.0-10-amd64"));
  EXPECT_EQ(archive_->updates, updates);  // An exact release that is there needs no lists.
  EXPECT_EQ(archive_->downloads, 1);
}

TEST_F(KernelStoreTest, OfflineWithNothingCachedIsTheHostsFault) {
  add_bookworm();
  archive_->offline = true;
  for (const char* text : {"debian:bookworm/amd64", "debian:6.1.0-10-amd64"}) {
    const auto kernel = ensure(text);
    ASSERT_FALSE(kernel);
    EXPECT_EQ(kernel.error().kind(), ErrorKind::kHost);
    EXPECT_THAT(kernel.error().message(), HasSubstr("no network"));
    EXPECT_THAT(kernel.error().message(), HasSubstr(text));
  }
  EXPECT_TRUE(cache_is_clean());
}

TEST_F(KernelStoreTest, AReleaseIsFoundInWhicheverSuiteHasIt) {
  add_bookworm();
  archive_->add("trixie-backports", "linux-image-6.17.13+deb13-amd64", "6.17.13-1~bpo13+1", {},
                old_style_deb("6.17.13+deb13-amd64"));
  archive_->add("sid", "linux-image-7.3~rc4-amd64-unsigned", "7.3~rc4-1", {}, old_style_deb("7.3~rc4-amd64"));
  for (const std::string release : {"6.17.13+deb13-amd64", "6.1.0-9-amd64", "7.3~rc4-amd64"}) {
    const auto kernel = ensure("debian:" + release);
    ASSERT_TRUE(kernel) << kernel.error().message();
    EXPECT_EQ(kernel->release, release);
  }
  const auto cached = store_->cached();
  ASSERT_EQ(cached.size(), 3U);
  EXPECT_EQ(cached[0].release, "7.3~rc4-amd64");
  EXPECT_EQ(cached[2].release, "6.1.0-9-amd64");
  const auto absent = ensure("debian:9.9.9-amd64");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().kind(), ErrorKind::kInvalidInput);
}

std::vector<std::string> texts(const KernelStore::Expansion& expansion) {
  std::vector<std::string> names;
  for (const auto& kernel : expansion.kernels) names.push_back(kernel.text());
  return names;
}

TEST_F(KernelStoreTest, APatternStandsForWhatTheArchiveHas) {
  add_bookworm();
  archive_->add("sid", "linux-image-amd64", "7.2-1", {"linux-image-7.2-amd64"});
  archive_->add("sid", "linux-image-7.2-amd64", "7.2-1", {});
  const auto expansion = store_->expand({"debian:*/amd64"}, {});
  ASSERT_TRUE(expansion) << expansion.error().message();
  EXPECT_THAT(texts(*expansion), testing::ElementsAre("debian:bookworm/amd64", "debian:sid/amd64"));
  EXPECT_THAT(expansion->notices, testing::Contains(HasSubstr("debian:trixie/amd64 is left out")));
  EXPECT_EQ(archive_->downloads, 0);
}

TEST_F(KernelStoreTest, AKernelInTwoSuitesIsTakenOnce) {
  add_bookworm();
  for (const std::string suite : {"trixie-backports", "forky", "sid"}) {
    const std::string release = suite == "trixie-backports" ? "7.1+deb13-amd64" : "7.2+deb14-amd64";
    archive_->add(suite, "linux-image-amd64", "7-1", {"linux-image-" + release});
    archive_->add(suite, "linux-image-" + release, "7-1", {});
  }
  const auto expansion =
      store_->expand({"debian:6.1.0-10-amd64", "debian:*/amd64", "debian:6.1.0-10-amd64", "debian:s*d/amd64"}, {});
  ASSERT_TRUE(expansion) << expansion.error().message();
  EXPECT_THAT(texts(*expansion),
              testing::ElementsAre("debian:6.1.0-10-amd64", "debian:trixie-backports/amd64", "debian:forky/amd64"));
  EXPECT_THAT(expansion->notices, testing::Contains("debian:sid/amd64 is left out: that kernel was named before"));
}

TEST_F(KernelStoreTest, APatternThatMatchesNothingIsTheUsersMistake) {
  add_bookworm();
  for (const char* pattern : {"debian:*/cloud-amd64", "debian:potato*/amd64", "/nonexistent/vmlinuz-*"}) {
    const auto expansion = store_->expand({"debian:bookworm/amd64", pattern}, {});
    ASSERT_FALSE(expansion) << pattern;
    EXPECT_EQ(expansion.error().kind(), ErrorKind::kInvalidInput);
    EXPECT_THAT(expansion.error().message(), HasSubstr(pattern));
  }
}

TEST_F(KernelStoreTest, PatternsOfflineAreTheHostsFaultAndPlainReferencesAreNotLookedUp) {
  archive_->offline = true;
  const auto expansion = store_->expand({"debian:*/amd64"}, {});
  ASSERT_FALSE(expansion);
  EXPECT_EQ(expansion.error().kind(), ErrorKind::kHost);
  EXPECT_EQ(texts(*store_->expand({"debian:bookworm/amd64", "host"}, {})).size(), 2U);
}

TEST_F(KernelStoreTest, FollowsTheMetapackagesOfNewKernels) {
  const std::string release = "7.2.13+deb14-amd64";
  archive_->add("sid", "linux-image-amd64", "7.2.13-1", {"linux-base-amd64", "linux-image-" + release});
  archive_->add("sid", "linux-image-" + release, "7.2.13-1",
                {"linux-binary-" + release, "linux-base-" + release, "linux-modules-" + release},
                make_deb({{"./usr/share/doc/copyright", "text", "", false}}));
  archive_->add("sid", "linux-binary-" + release, "7.2.13-1", {},
                make_deb({{"./usr/lib/modules/" + release + "/vmlinuz", synthetic_bzimage(), "", false}}));
  archive_->add("sid", "linux-base-" + release, "7.2.13-1", {},
                make_deb({{"./usr/lib/modules/" + release + "/config", "CONFIG_X=y", "", false}}));
  archive_->add(
      "sid", "linux-modules-" + release, "7.2.13-1", {},
      make_deb({{"./usr/lib/modules/" + release + "/kernel/a.ko.xz", "module", "", false}}, PackageCompression::kZstd));
  const auto kernel = ensure("debian:sid/amd64");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, release);
  EXPECT_EQ(*read_text_file(kernel->image), synthetic_bzimage());
  EXPECT_EQ(*read_text_file(kernel->modules / "kernel/a.ko.xz"), "module");
  EXPECT_EQ(*read_text_file(kernel->image.parent_path() / kConfigFile), "CONFIG_X=y");
  EXPECT_FALSE(fs::exists(kernel->modules / "vmlinuz"));
}

TEST_F(KernelStoreTest, AnOldBuildWhoseModulesAreGoneIsUsedWithoutThem) {
  const std::string release = "6.19.14+deb13-amd64";
  archive_->add("sid", "linux-image-amd64", "6.19.14-1", {"linux-image-" + release});
  archive_->add("sid", "linux-image-" + release, "6.19.14-1", {"linux-binary-" + release, "linux-modules-" + release},
                make_deb({{"./usr/share/doc/copyright", "text", "", false}}));
  const auto without_image = ensure("debian:sid/amd64");
  ASSERT_FALSE(without_image);
  EXPECT_THAT(without_image.error().message(), HasSubstr("sid lacks linux-binary-" + release));
  archive_->add("sid", "linux-binary-" + release, "6.19.14-1", {},
                make_deb({{"./usr/lib/modules/" + release + "/vmlinuz", synthetic_bzimage(), "", false}}));
  const auto kernel = ensure("debian:sid/amd64");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_TRUE(kernel->modules.empty());
  EXPECT_EQ(*read_text_file(kernel->image), synthetic_bzimage());
  EXPECT_THAT(lines_, testing::Contains(HasSubstr("going on without modules: sid lacks linux-modules-" + release)));
}

TEST_F(KernelStoreTest, OldListsThatNameAVanishedPackageAreRenewed) {
  archive_->add("bookworm", "linux-image-amd64", "6.1.99-1", {"linux-image-6.1.0-9-amd64"});
  archive_->add("bookworm", "linux-image-6.1.0-9-amd64", "6.1.99-1", {});
  archive_->vanished = "linux-image-6.1.0-9-amd64";
  archive_->on_update = [this] {
    archive_->suites.clear();
    add_bookworm();
  };
  const auto kernel = ensure("debian:bookworm/amd64");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->release, "6.1.0-10-amd64");
  EXPECT_EQ(archive_->downloads, 2);
}

TEST_F(KernelStoreTest, ATruncatedPackageLeavesNothing) {
  auto deb = old_style_deb("6.1.0-1-amd64");
  deb.resize(deb.size() / 2);
  archive_->add("bookworm", "linux-image-6.1.0-1-amd64", "6.1.1-1", {}, deb);
  const auto kernel = ensure("debian:6.1.0-1-amd64");
  ASSERT_FALSE(kernel);
  EXPECT_THAT(kernel.error().message(), HasSubstr("p.deb"));
  EXPECT_TRUE(cache_is_clean());
}

TEST_F(KernelStoreTest, APackageWithoutAKernelIsSaidSo) {
  archive_->add("bookworm", "linux-image-6.1.0-1-amd64", "6.1.1-1", {}, old_style_deb("6.1.0-2-amd64"));
  const auto kernel = ensure("debian:6.1.0-1-amd64");
  ASSERT_FALSE(kernel);
  EXPECT_THAT(kernel.error().message(), HasSubstr("no kernel image of release 6.1.0-1-amd64"));
  EXPECT_TRUE(cache_is_clean());
}

TEST_F(KernelStoreTest, AKilledFetchLeavesNoHalfKernelAndTheNextOneClearsUp) {
  add_bookworm();
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    archive_->after_download = [] { ::raise(SIGKILL); };
    (void)ensure("debian:bookworm/amd64");
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(fs::is_empty(root_ / "cache/unfinished"));
  EXPECT_THAT(store_->cached(), IsEmpty());
  ASSERT_TRUE(ensure("debian:bookworm/amd64"));
  EXPECT_TRUE(fs::is_empty(root_ / "cache/unfinished"));
  EXPECT_EQ(store_->cached().size(), 1U);
}

TEST_F(KernelStoreTest, TwoProcessesFetchOnce) {
  add_bookworm();
  const auto counter = root_ / "downloads";
  archive_->after_download = [&] { std::ofstream(counter, std::ios::app) << "x"; };
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const auto child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) ::_exit(ensure("debian:bookworm/amd64") ? 0 : 1);
    children.push_back(child);
  }
  for (const auto child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(*read_text_file(counter), "x");
  EXPECT_EQ(store_->cached().size(), 1U);
}

TEST_F(KernelStoreTest, WaitingForTheLockIsSaid) {
  add_bookworm();
  std::array<int, 2> pipe_ends;
  ASSERT_EQ(::pipe(pipe_ends.data()), 0);
  const UniqueFd read_end(pipe_ends[0]);
  const UniqueFd write_end(pipe_ends[1]);
  const auto lock = CacheLock::take(root_ / "cache", nullptr);
  ASSERT_TRUE(lock);
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto tell_parent = [&](std::string_view line) { (void)!::write(write_end.get(), line.data(), line.size()); };
    (void)CacheLock::take(root_ / "cache", tell_parent);
    ::_exit(0);
  }
  std::string line(100, '\0');
  const auto got = ::read(read_end.get(), line.data(), line.size());
  ASSERT_GT(got, 0);
  EXPECT_THAT(line, HasSubstr("waiting for another panicroom"));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST_F(KernelStoreTest, StrayFoldersAreNotKernels) {
  for (const char* name : {"6.1.0-1-amd64_6.1.1-1", "noseparator", "6.1 x_1", "6.1_../x", "_", "6.1_"}) {
    fs::create_directories(root_ / "cache/kernels" / name);
  }
  EXPECT_THAT(store_->cached(), IsEmpty());
  add_bookworm();
  fs::create_directories(root_ / "cache/kernels/6.1.0-10-amd64_6.1.192-1/modules/x");
  ASSERT_TRUE(ensure("debian:bookworm/amd64"));
}

TEST_F(KernelStoreTest, TheHostsKernel) {
  auto kernel = ensure("host");
  ASSERT_FALSE(kernel);
  EXPECT_THAT(kernel.error().message(), HasSubstr("no vmlinuz-*"));
  fs::create_directories(root_ / "boot");
  fs::create_directories(root_ / "modules/6.1.0-10-amd64");
  ASSERT_TRUE(write_file(root_ / "boot/vmlinuz-6.1.0-9-amd64", "x"));
  ASSERT_TRUE(write_file(root_ / "boot/vmlinuz-6.1.0-10-amd64", "x"));
  kernel = ensure("host");
  ASSERT_TRUE(kernel) << kernel.error().message();
  EXPECT_EQ(kernel->image, root_ / "boot/vmlinuz-6.1.0-10-amd64");
  EXPECT_EQ(kernel->release, "6.1.0-10-amd64");
  EXPECT_EQ(kernel->modules, root_ / "modules/6.1.0-10-amd64");
}

TEST_F(KernelStoreTest, AHostKernelThatOnlyRootMayReadSaysWhatToDo) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  fs::create_directories(root_ / "boot");
  const auto image = root_ / "boot/vmlinuz-6.1.0-9-generic";
  ASSERT_TRUE(write_file(image, "x"));
  fs::permissions(image, fs::perms::none);
  const auto kernel = ensure("host");
  ASSERT_FALSE(kernel);
  EXPECT_THAT(kernel.error().message(), HasSubstr("sudo chmod a+r " + image.native()));
}

TEST_F(KernelStoreTest, AFileByItsPath) {
  const auto image = root_ / "bzImage";
  const auto absent = ensure(image.native());
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(absent.error().message(), HasSubstr(image.native()));
  ASSERT_TRUE(write_file(image, "x"));
  ASSERT_TRUE(ensure(image.native()));
  EXPECT_TRUE(ensure(image.native())->modules.empty());
  EXPECT_FALSE(ensure(image.native() + ":modules=" + (root_ / "absent").native()));
  fs::create_directories(root_ / "m");
  fs::create_directories(root_ / "modules");
  EXPECT_EQ(ensure(image.native() + ":modules=" + (root_ / "m").native())->modules, root_ / "m");
  EXPECT_EQ(ensure(image.native())->modules, root_ / "modules");  // Beside it.
}

TEST_F(KernelStoreTest, AnUnknownFlavourIsTheUsersMistake) {
  add_bookworm();
  const auto kernel = ensure("debian:bookworm/m68k");
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().kind(), ErrorKind::kInvalidInput);
  EXPECT_THAT(kernel.error().message(), HasSubstr("cloud-amd64"));
}

TEST_F(KernelStoreTest, ACacheThatCannotBeWrittenIsNamed) {
  ASSERT_TRUE(write_file(root_ / "cache", "a file in the way"));
  const auto kernel = ensure("debian:bookworm/amd64");
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().kind(), ErrorKind::kHost);
  EXPECT_THAT(kernel.error().message(), HasSubstr((root_ / "cache").native()));
}

TEST(SuitesToSearchTest, TheLikeliestFirst) {
  EXPECT_EQ(suites_to_search("6.12.107+deb13-amd64", "bookworm").front(), "trixie");
  EXPECT_EQ(suites_to_search("6.17.13+deb13-amd64", "bookworm")[1], "trixie-backports");
  EXPECT_EQ(suites_to_search("5.10.0-31-amd64", "bookworm").front(), "bullseye");
  EXPECT_EQ(suites_to_search("9.9.9-amd64", "bookworm").front(), "bookworm");
  const auto all = suites_to_search("9.9.9-amd64", "");
  EXPECT_EQ(all.front(), "sid");
  EXPECT_EQ(all.size(), 9U);  // Five suites, and backports of all but sid.
}

}  // namespace
}  // namespace panicroom::kernels
