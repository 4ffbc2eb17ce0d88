#include "kernels/packages/kernel_store.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "kernels/packages/apt_archive.h"
#include "kernels/packages/cache_lock.h"
#include "kernels/packages/kernel_pattern.h"
#include "kernels/packages/kernel_tree.h"
#include "kernels/packages/local_kernel.h"
#include "kernels/packages/package_reader.h"
#include "kernels/packages/release_order.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kImagePrefix = "linux-image-";

const PackageRecord* newest(const std::vector<PackageRecord>& records) {
  const auto it = std::max_element(records.begin(), records.end(), [](const auto& left, const auto& right) {
    return version_less(left.version, right.version);
  });
  return it == records.end() ? nullptr : &*it;
}

bool readable(const fs::path& file) { return ::access(file.c_str(), R_OK) == 0; }

fs::path folder_or_nothing(const fs::path& folder) {
  std::error_code error;
  return fs::is_directory(folder, error) ? folder : fs::path();
}

// The name of a fetched kernel's folder; neither part can have a '_'.
std::string folder_name(const std::string& release, const std::string& version) { return release + "_" + version; }

std::optional<StoredKernel> open_cached(const fs::path& folder) {
  const auto name = folder.filename().native();
  const auto separator = name.find('_');
  if (separator == std::string::npos) return std::nullopt;
  StoredKernel kernel;
  kernel.release = name.substr(0, separator);
  kernel.package_version = name.substr(separator + 1);
  kernel.image = folder / kImageFile;
  kernel.modules = folder_or_nothing(folder / kModulesFolder);
  if (readable(folder / kConfigFile)) kernel.config = folder / kConfigFile;
  if (!is_release_name(kernel.release) || !is_package_version(kernel.package_version)) return std::nullopt;
  if (!readable(kernel.image)) return std::nullopt;
  return kernel;
}

// The release that an image package depends on in a metapackage: "linux-image-6.1.0-56-cloud-amd64" of
// linux-image-cloud-amd64. From 6.19 on there are more dependencies, such as linux-base-cloud-amd64.
std::optional<std::string> release_in(const PackageRecord& metapackage) {
  for (const auto& name : metapackage.depends) {
    if (!name.starts_with(kImagePrefix)) continue;
    auto release = name.substr(kImagePrefix.size());
    if (is_release_name(release) && release.front() >= '0' && release.front() <= '9') return release;
  }
  return std::nullopt;
}

// A package that an image package of 6.19 or later splits its files into.
struct PartOfKernel {
  std::string_view prefix;  // Of its name; the release follows.
  bool required;
  std::string_view what;  // That a kernel lacks without it.
};
// Suites keep the images of old builds longer than the rest; no guest of ours loads a module, and the configuration
// only informs.
constexpr std::array kPartsOfKernel{
    PartOfKernel{"linux-binary-", true, "image"},
    PartOfKernel{"linux-modules-", false, "modules"},
    PartOfKernel{"linux-base-", false, "configuration"},
};

const PartOfKernel* part_of_kernel(std::string_view package, std::string_view release) {
  const auto* part = std::find_if(kPartsOfKernel.begin(), kPartsOfKernel.end(), [&](const PartOfKernel& each) {
    return package.starts_with(each.prefix) && package.substr(each.prefix.size()) == release;
  });
  return part == kPartsOfKernel.end() ? nullptr : part;
}

// What tells kernels apart before anything is fetched: the release, the file, or else the words of the reference.
std::string identity(const KernelRef& ref) {
  if (const auto* wanted = std::get_if<DebianReleaseKernel>(&ref.target())) return "release " + wanted->release;
  if (const auto* file = std::get_if<KernelFile>(&ref.target())) {
    std::error_code error;
    const auto path = fs::canonical(file->image, error);
    return fmt::format("file {} {}", (error ? file->image : path).native(), file->modules.native());
  }
  return ref.text();
}

std::string current_suite() {
  const auto text = read_text_file("/etc/os-release");
  if (!text) return {};
  auto suite = debian_suite(*text);
  return suite ? std::move(*suite) : std::string();
}

}  // namespace

Result<fs::path> default_cache_dir() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return fs::path(cache) / "panicroom";  // A relative one is to be ignored.
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return fs::path(home) / ".cache/panicroom";
  return host_error("no place for the kernel cache: set HOME or XDG_CACHE_HOME");
}

std::vector<std::string> suites_to_search(const std::string& release, const std::string& host_suite) {
  static const std::map<std::string, std::string> kByMark = {
      {"deb11", "bullseye"}, {"deb12", "bookworm"}, {"deb13", "trixie"}, {"deb14", "forky"}};
  static const std::map<std::string, std::string> kBySeries = {
      {"5.10.", "bullseye"}, {"6.1.", "bookworm"}, {"6.12.", "trixie"}};
  std::vector<std::string> likely;
  for (const auto& [mark, suite] : kByMark) {
    if (release.find(mark) != std::string::npos) likely.push_back(suite);
  }
  for (const auto& [series, suite] : kBySeries) {
    if (release.starts_with(series)) likely.push_back(suite);
  }
  if (!host_suite.empty()) likely.push_back(host_suite);
  // The newest suites change the most often, and are the likeliest to have what has no mark at all.
  likely.insert(likely.end(), debian_suites().rbegin(), debian_suites().rend());

  std::vector<std::string> suites;
  const auto add = [&](const std::string& suite) {
    if (std::find(suites.begin(), suites.end(), suite) == suites.end()) suites.push_back(suite);
  };
  for (const auto& suite : likely) {
    add(suite);
    if (suite != "sid" && suite.find('-') == std::string::npos) add(suite + "-backports");
  }
  return suites;
}

KernelStore::KernelStore(const fs::path& cache_dir)
    : KernelStore(cache_dir, std::make_unique<AptArchive>(cache_dir / "apt"), HostFolders()) {}

KernelStore::KernelStore(fs::path cache_dir, std::unique_ptr<PackageArchive> archive, HostFolders host)
    : cache_dir_(std::move(cache_dir)), archive_(std::move(archive)), host_(std::move(host)) {}

Result<StoredKernel> KernelStore::ensure(const KernelRef& ref, const ProgressSink& progress) {
  if (std::holds_alternative<HostKernel>(ref.target())) return find_host();
  if (const auto* file = std::get_if<KernelFile>(&ref.target())) {
    return find_file(*file, progress);
  }
  if (const auto* suite = std::get_if<DebianSuiteKernel>(&ref.target())) {
    return TRY_CONTEXT(ref.text(), ensure_suite(*suite, progress));
  }
  return TRY_CONTEXT(ref.text(), ensure_release(std::get<DebianReleaseKernel>(ref.target()), progress));
}

Result<KernelStore::Expansion> KernelStore::expand(const std::vector<std::string>& references,
                                                   const ProgressSink& progress) {
  Expansion expansion;
  std::set<std::string> seen;
  for (const auto& text : references) {
    if (is_kernel_pattern(text)) {
      TRY(expand_pattern(text, seen, expansion, progress));
      continue;
    }
    auto ref = TRY(KernelRef::parse(text));
    if (seen.insert(identity(ref)).second) {
      expansion.kernels.push_back(std::move(ref));
    } else {
      expansion.notices.push_back(fmt::format("{} is left out: that kernel was named before", text));
    }
  }
  return expansion;
}

Result<> KernelStore::expand_pattern(const std::string& pattern, std::set<std::string>& seen, Expansion& expansion,
                                     const ProgressSink& progress) {
  bool matched = false;
  std::optional<Error> unreachable;
  for (auto& ref : TRY(references_matching(pattern))) {
    auto what = identity(ref);
    const bool named = seen.contains(what);
    if (const auto* suite = std::get_if<DebianSuiteKernel>(&ref.target()); suite != nullptr && !named) {
      const auto lock = TRY(CacheLock::take(cache_dir_, progress));
      const auto newest = newest_in_suite(*suite, Lists::kFresh, progress);
      if (!newest && newest.error().kind() == ErrorKind::kInvalidInput) {
        expansion.notices.push_back(fmt::format("{} is left out: {}", ref.text(), newest.error().message()));
        continue;
      }
      if (newest) {
        matched = true;
        seen.insert(what);
        what = "release " + newest->release;
      } else {
        unreachable = newest.error();
      }
    } else {
      matched = true;
    }
    if (seen.insert(what).second) {
      expansion.kernels.push_back(std::move(ref));
    } else {
      expansion.notices.push_back(fmt::format("{} is left out: that kernel was named before", ref.text()));
    }
  }
  if (matched) return {};
  if (unreachable) return std::move(*unreachable).with_context(pattern);
  return invalid_input("{}: no kernel matches", pattern);
}

Result<StoredKernel> KernelStore::find_file(const KernelFile& wanted, const ProgressSink& progress) const {
  std::error_code error;
  if (!wanted.modules.empty() && !fs::is_directory(wanted.modules, error)) {
    return invalid_input("kernel {}: the modules folder {} does not exist", wanted.image.native(),
                         wanted.modules.native());
  }
  const auto find = [&]() -> Result<StoredKernel> {
    if (fs::is_directory(wanted.image, error)) return kernel_in_folder(wanted.image);
    if (!fs::is_regular_file(wanted.image, error)) {
      return invalid_input("{}: there is no such file (and it is neither host nor debian:...)", wanted.image.native());
    }
    if (is_package_file(wanted.image)) return kernel_of_package(wanted.image, cache_dir_, progress);
    return kernel_of_file(wanted.image);
  };
  auto kernel = TRY_CONTEXT("kernel", find());
  if (!wanted.modules.empty()) kernel.modules = wanted.modules;
  return kernel;
}

Result<std::vector<KernelStore::Offer>> KernelStore::offers(const std::string& suite, Lists lists,
                                                            const ProgressSink& progress) {
  const auto lock = TRY(CacheLock::take(cache_dir_, progress));
  std::vector<Offer> offers;
  for (const auto& flavour : kernel_flavours()) {
    const auto metapackages = TRY(archive_->find(suite, std::string(kImagePrefix) + flavour, lists, progress));
    const auto* metapackage = newest(metapackages);
    if (metapackage == nullptr) continue;
    if (auto release = release_in(*metapackage)) {
      offers.push_back({suite, flavour, std::move(*release), metapackage->version});
    }
  }
  return offers;
}

Result<StoredKernel> KernelStore::find_host() const {
  const auto release = newest_vmlinuz(host_.boot);
  if (!release) {
    return invalid_input(
        "kernel host: there is no vmlinuz-* in {}, as in containers: name another kernel, such as "
        "debian:trixie/cloud-amd64",
        host_.boot.native());
  }
  const auto image = host_.boot / ("vmlinuz-" + *release);
  if (!readable(image)) {
    return invalid_input("kernel host: this user may not read {0}: sudo chmod a+r {0}", image.native());
  }
  auto kernel = TRY(kernel_of_file(image));
  kernel.modules = folder_or_nothing(host_.modules / *release);
  return kernel;
}

std::vector<StoredKernel> KernelStore::cached() const {
  std::vector<StoredKernel> kernels = unpacked_kernels(cache_dir_);
  std::error_code error;
  for (auto entry = fs::directory_iterator(cache_dir_ / "kernels", error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (auto kernel = open_cached(entry->path())) kernels.push_back(std::move(*kernel));
  }
  std::sort(kernels.begin(), kernels.end(), [](const auto& left, const auto& right) {
    if (left.release != right.release) return version_less(right.release, left.release);
    return version_less(right.package_version, left.package_version);
  });
  return kernels;
}

Result<StoredKernel> KernelStore::ensure_suite(const DebianSuiteKernel& wanted, const ProgressSink& progress) {
  const auto lock = TRY(CacheLock::take(cache_dir_, progress));
  const auto image = TRY(newest_in_suite(wanted, Lists::kFresh, progress));
  auto kernel = fetch(image, progress);
  if (kernel || kernel.error().kind() != ErrorKind::kHost) return kernel;
  // The archive may have replaced the package since the lists were fetched: if new lists name another, take that.
  const auto again = newest_in_suite(wanted, Lists::kUpdated, progress);
  if (!again || (again->record.version == image.record.version && again->release == image.release)) return kernel;
  return fetch(*again, progress);
}

Result<KernelStore::ImagePackage> KernelStore::newest_in_suite(const DebianSuiteKernel& wanted, Lists lists,
                                                               const ProgressSink& progress) {
  const auto name = std::string(kImagePrefix) + wanted.flavour;
  const auto metapackages = TRY(archive_->find(wanted.suite, name, lists, progress));
  const auto* metapackage = newest(metapackages);
  if (metapackage == nullptr) {
    return invalid_input("{} has no package {}: flavours are amd64, cloud-amd64 and rt-amd64", wanted.suite, name);
  }
  const auto release = release_in(*metapackage);
  if (!release) return invalid_input("{} {} depends on no kernel image", name, metapackage->version);
  // Both are built together and share a version. If that very kernel is cached, its record need not be asked for.
  const auto cached_folder = cache_dir_ / "kernels" / folder_name(*release, metapackage->version);
  if (open_cached(cached_folder)) {
    PackageRecord record = *metapackage;
    record.name = std::string(kImagePrefix) + *release;
    return ImagePackage{record, *release, wanted.suite};
  }
  const auto images = TRY(archive_->find(wanted.suite, std::string(kImagePrefix) + *release, Lists::kCached, progress));
  const auto* image = newest(images);
  if (image == nullptr) {
    return host_error("{} lacks {}{}, on which {} {} depends: the archive is being changed, try again later",
                      wanted.suite, kImagePrefix, *release, name, metapackage->version);
  }
  return ImagePackage{*image, *release, wanted.suite};
}

Result<StoredKernel> KernelStore::ensure_release(const DebianReleaseKernel& wanted, const ProgressSink& progress) {
  const auto find_cached = [&]() -> std::optional<StoredKernel> {
    for (auto& kernel : cached()) {
      // What came from a file is not Debian's, whatever it calls itself.
      if (kernel.release == wanted.release && !kernel.package_version.empty()) return std::move(kernel);
    }
    return std::nullopt;
  };
  if (auto kernel = find_cached()) return std::move(*kernel);
  const auto lock = TRY(CacheLock::take(cache_dir_, progress));
  if (auto kernel = find_cached()) return std::move(*kernel);  // Whoever held the lock may have fetched it.
  return fetch(TRY(find_release(wanted.release, progress)), progress);
}

Result<KernelStore::ImagePackage> KernelStore::find_release(const std::string& release, const ProgressSink& progress) {
  const auto suites = suites_to_search(release, current_suite());
  std::string unreachable;
  // First what is known already, then the network; a package not in an old list may be in a new one.
  for (const auto lists : {Lists::kCached, Lists::kFresh}) {
    for (const auto& suite : suites) {
      for (const char* suffix : {"", "-unsigned"}) {
        auto records = archive_->find(suite, std::string(kImagePrefix) + release + suffix, lists, progress);
        if (!records) {
          if (records.error().kind() != ErrorKind::kHost) break;  // No such suite on these mirrors.
          unreachable += fmt::format("; {}", records.error().message());
          break;
        }
        if (const auto* image = newest(*records)) return ImagePackage{*image, release, suite};
      }
    }
  }
  const auto searched = fmt::format("{}", fmt::join(suites, ", "));
  if (!unreachable.empty()) {
    return host_error("no such kernel in the suites that could be searched (of {}){}", searched, unreachable);
  }
  return invalid_input("no such kernel in {}; older ones are removed from Debian's mirrors", searched);
}

Result<StoredKernel> KernelStore::fetch(const ImagePackage& image, const ProgressSink& progress) {
  const auto name = folder_name(image.release, image.record.version);
  const auto folder = cache_dir_ / "kernels" / name;
  if (auto kernel = open_cached(folder)) return std::move(*kernel);

  std::vector<PackageRecord> packages = {image.record};
  for (const auto& dependency : image.record.depends) {
    const auto* kind = part_of_kernel(dependency, image.release);
    if (kind == nullptr) continue;
    const auto records = TRY(archive_->find(image.suite, dependency, Lists::kCached, progress));
    // All parts come from one build.
    const auto same = std::find_if(records.begin(), records.end(),
                                   [&](const auto& record) { return record.version == image.record.version; });
    const auto* part = same != records.end() ? &*same : newest(records);
    if (part != nullptr) {
      packages.push_back(*part);
    } else if (kind->required) {
      return host_error("{} lacks {}", image.suite, dependency);
    } else {
      tell(progress, fmt::format("going on without {}: {} lacks {}", kind->what, image.suite, dependency));
    }
  }

  const auto scratch = TRY(ScratchFolder::make(cache_dir_ / "unfinished"));
  const auto tree = scratch.path() / "tree";
  TRY(make_directories(tree));
  for (std::size_t i = 0; i < packages.size(); ++i) {
    const auto download_folder = scratch.path() / fmt::format("package{}", i);
    TRY(make_directories(download_folder));
    const auto deb = TRY(archive_->download(packages[i], download_folder, progress));
    tell(progress, fmt::format("unpacking {}", packages[i].name));
    TRY(unpack_package(deb, tree, kernel_tree_prefixes()));
  }
  const auto finished = scratch.path() / name;
  TRY_CONTEXT(image.record.name, arrange_kernel(tree, image.release, finished));
  TRY(make_directories(folder.parent_path()));
  std::error_code error;
  fs::remove_all(folder, error);  // What open_cached() did not take for a kernel.
  fs::rename(finished, folder, error);
  if (error) return errno_error(error.value(), fmt::format("moving the kernel to {}", folder.native()));
  if (auto kernel = open_cached(folder)) return std::move(*kernel);
  return host_error("{} cannot be read after it was written", folder.native());
}

}  // namespace panicroom::kernels
