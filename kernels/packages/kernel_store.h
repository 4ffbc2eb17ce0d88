// Finds the kernel that a reference names: on the host, in a package, or in Debian's archive, fetched once into the
// user's cache.
//
// In the cache a kernel is there as a whole or not at all, whatever interrupts a fetch; two processes that want the
// same one fetch it once. Leaves out what is inside the image: kernels/image/ reads that.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/packages/kernel_ref.h"
#include "kernels/packages/package_archive.h"
#include "kernels/packages/stored_kernel.h"

namespace panicroom::kernels {

// $XDG_CACHE_HOME/panicroom or ~/.cache/panicroom. kHost if neither variable tells.
Result<std::filesystem::path> default_cache_dir();

// One object may be used by one thread at a time; any number of objects and processes may share a folder.
class KernelStore {
 public:
  // Where a kernel of the host's own lies.
  struct HostFolders {
    std::filesystem::path boot = "/boot";
    std::filesystem::path modules = "/lib/modules";
  };

  // The folder is made when first needed.
  explicit KernelStore(const std::filesystem::path& cache_dir);
  // The same with another archive, or the host's kernels elsewhere.
  KernelStore(std::filesystem::path cache_dir, std::unique_ptr<PackageArchive> archive, HostFolders host);

  // The kernel, after fetching it if need be.
  // kInvalidInput if there is no such kernel, kHost if it cannot be fetched or the disk is full.
  Result<StoredKernel> ensure(const KernelRef& ref, const ProgressSink& progress);

  // The kernels that a command line names, in its order, without fetching any. A pattern (kernel_pattern.h) becomes the
  // references that it matches, less those that the archive does not have; a kernel that was named before, by another
  // reference or pattern, is left out. What was left out, and why, is told in `notices`. Of references that are no
  // patterns only the form is checked.
  // kInvalidInput for a pattern that matches nothing. A suite that cannot be looked at (offline, and nothing cached) is
  // not left out, so that its kernels' absence is seen; kHost if that is all that a pattern came to.
  struct Expansion {
    std::vector<KernelRef> kernels;
    std::vector<std::string> notices;
  };
  Result<Expansion> expand(const std::vector<std::string>& references, const ProgressSink& progress);

  // What a suite offers: the newest kernel of each flavour (kernel_flavours()) that it has. kInvalidInput if there is
  // no such suite, kHost if the archive cannot be reached and nothing is known of the suite.
  struct Offer {
    std::string suite;
    std::string flavour;
    std::string release;
    std::string package_version;
  };
  Result<std::vector<Offer>> offers(const std::string& suite, Lists lists, const ProgressSink& progress);

  // The kernels in the cache, fetched or unpacked, newest release first.
  [[nodiscard]] std::vector<StoredKernel> cached() const;

 private:
  Result<StoredKernel> find_host() const;
  Result<StoredKernel> find_file(const KernelFile& wanted, const ProgressSink& progress) const;
  Result<StoredKernel> ensure_suite(const DebianSuiteKernel& wanted, const ProgressSink& progress);
  Result<StoredKernel> ensure_release(const DebianReleaseKernel& wanted, const ProgressSink& progress);
  // The package of the kernel's image, and the suite that it is to be had from.
  struct ImagePackage {
    PackageRecord record;
    std::string release;
    std::string suite;
  };
  Result<ImagePackage> newest_in_suite(const DebianSuiteKernel& wanted, Lists lists, const ProgressSink& progress);
  Result<ImagePackage> find_release(const std::string& release, const ProgressSink& progress);
  Result<StoredKernel> fetch(const ImagePackage& image, const ProgressSink& progress);
  Result<> expand_pattern(const std::string& pattern, std::set<std::string>& seen, Expansion& expansion,
                          const ProgressSink& progress);

  std::filesystem::path cache_dir_;
  std::unique_ptr<PackageArchive> archive_;
  HostFolders host_;
};

// The suites in which a release is worth looking for, the likeliest first: by the suite's mark in the release
// ("6.12.107+deb13-amd64"), by the kernel series that a suite was released with, by the host's suite (may be empty).
std::vector<std::string> suites_to_search(const std::string& release, const std::string& host_suite);

}  // namespace panicroom::kernels
