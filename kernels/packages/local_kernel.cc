#include "kernels/packages/local_kernel.h"

#include <apt-pkg/hashes.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "kernels/packages/cache_lock.h"
#include "kernels/packages/kernel_tree.h"
#include "kernels/packages/package_reader.h"
#include "kernels/packages/release_order.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kImagePrefix = "vmlinuz-";
constexpr const char* kPackagesFolder = "packages";

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}
bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// The first that exists, or an empty path.
fs::path first_file(const std::vector<fs::path>& candidates) {
  const auto it = std::find_if(candidates.begin(), candidates.end(), is_file);
  return it == candidates.end() ? fs::path() : *it;
}
fs::path first_folder(const std::vector<fs::path>& candidates) {
  const auto it = std::find_if(candidates.begin(), candidates.end(), is_folder);
  return it == candidates.end() ? fs::path() : *it;
}

bool begins_with_digit(const std::string& text) { return !text.empty() && text.front() >= '0' && text.front() <= '9'; }

// depmod's output and the build's list of built-in modules: every folder of modules has one of them.
bool is_modules_folder(const fs::path& folder) {
  return is_file(folder / "modules.builtin") || is_file(folder / "modules.dep");
}

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (auto entry = fs::directory_iterator(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (is_folder(entry->path())) folders.push_back(entry->path());
  }
  return folders;
}

// The images in a folder by their releases, as the names of files and folders tell them.
std::map<std::string, fs::path> images_by_release(const fs::path& folder) {
  std::map<std::string, fs::path> images;
  for (const auto& boot : {folder / "boot", folder}) {
    for (const auto& release : vmlinuz_releases(boot)) {
      // Not "vmlinuz-linux", which some distributions have beside the image of the release's own name.
      if (begins_with_digit(release)) images.emplace(release, boot / (std::string(kImagePrefix) + release));
    }
  }
  for (const auto& modules : {folder / "lib/modules", folder / "usr/lib/modules"}) {
    for (const auto& release : folders_in(modules)) {
      if (is_file(release / "vmlinuz")) images.emplace(release.filename().native(), release / "vmlinuz");
    }
  }
  return images;
}

Result<std::string> sha256_of(const fs::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_error(errno, fmt::format("opening {}", path.native()));
  Hashes hashes(Hashes::SHA256SUM);
  if (!hashes.AddFD(file.get())) return host_error("reading {} failed", path.native());
  return hashes.GetHashString(Hashes::SHA256SUM).HashValue();
}

// The kernel in the folder of one unpacked package, cache_dir/packages/SHA256.
std::optional<StoredKernel> open_unpacked(const fs::path& folder) {
  for (const auto& kernel : folders_in(folder)) {
    if (::access((kernel / kImageFile).c_str(), R_OK) != 0) continue;
    return StoredKernel{.image = kernel / kImageFile,
                        .modules = first_folder({kernel / kModulesFolder}),
                        .release = kernel.filename().native(),
                        .config = first_file({kernel / kConfigFile})};
  }
  return std::nullopt;
}

}  // namespace

Result<StoredKernel> kernel_of_file(const fs::path& image) {
  if (::access(image.c_str(), R_OK) != 0) return invalid_input("{}: this user may not read it", image.native());
  StoredKernel kernel;
  kernel.image = image;
  const auto name = image.filename().native();
  std::string release;
  if (name.starts_with(kImagePrefix)) release = name.substr(kImagePrefix.size());
  const auto folder = image.has_parent_path() ? image.parent_path() : fs::path(".");
  std::vector<fs::path> modules = {folder / kModulesFolder};
  std::vector<fs::path> configs;
  if (begins_with_digit(release)) {
    kernel.release = release;
    for (const char* place : {"../lib/modules", "../usr/lib/modules", "lib/modules", "usr/lib/modules"}) {
      modules.push_back(folder / place / release);
    }
    configs.push_back(folder / ("config-" + release));
  }
  if (is_modules_folder(folder)) modules.push_back(folder);
  kernel.modules = first_folder(modules).lexically_normal();
  configs.push_back(folder / kConfigFile);
  if (!kernel.modules.empty()) configs.push_back(kernel.modules / kConfigFile);
  configs.push_back(folder / ".config");
  configs.push_back(folder / "../../../.config");  // Of arch/x86/boot/bzImage in a build tree.
  kernel.config = first_file(configs).lexically_normal();
  return kernel;
}

Result<StoredKernel> kernel_in_folder(const fs::path& folder) {
  const auto images = images_by_release(folder);
  if (images.size() > 1) {
    std::string found;
    for (const auto& [release, image] : images) found += fmt::format("{}{}", found.empty() ? "" : ", ", image.native());
    return invalid_input("{} holds several kernels; name one of them: {}", folder.native(), found);
  }
  if (images.size() == 1) {
    auto kernel = TRY(kernel_of_file(images.begin()->second));
    kernel.release = images.begin()->first;
    return kernel;
  }
  const auto image = first_file({folder / "vmlinuz", folder / "bzImage", folder / "arch/x86/boot/bzImage",
                                 folder / "boot/vmlinuz", folder / "boot/bzImage", folder / "vmlinux"});
  if (image.empty()) {
    return invalid_input(
        "{} holds no kernel image: neither boot/vmlinuz-RELEASE nor lib/modules/RELEASE/vmlinuz, vmlinuz, bzImage or "
        "vmlinux",
        folder.native());
  }
  return kernel_of_file(image);
}

bool is_package_file(const fs::path& path) {
  constexpr std::size_t kMagics = 8;
  std::array<std::byte, kMagics> begin;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return false;
  const auto got = ::read(file.get(), begin.data(), begin.size());
  return got > 0 && is_package(Bytes(begin).first(static_cast<std::size_t>(got)));
}

Result<StoredKernel> kernel_of_package(const fs::path& package, const fs::path& cache_dir,
                                       const ProgressSink& progress) {
  const auto hash = TRY(sha256_of(package));
  const auto folder = cache_dir / kPackagesFolder / hash;
  if (auto kernel = open_unpacked(folder)) return std::move(*kernel);
  const auto lock = TRY(CacheLock::take(cache_dir, progress));
  if (auto kernel = open_unpacked(folder)) return std::move(*kernel);  // Whoever held the lock may have unpacked it.

  const auto scratch = TRY(ScratchFolder::make(cache_dir / "unfinished"));
  const auto tree = scratch.path() / "tree";
  TRY(make_directories(tree));
  tell(progress, fmt::format("unpacking {}", package.filename().native()));
  TRY(unpack_package(package, tree, kernel_tree_prefixes()));
  if (TRY(sha256_of(package)) != hash) return host_error("{} changed while it was read", package.native());

  const auto images = images_by_release(tree);
  if (images.empty()) {
    return invalid_input(
        "{} holds no kernel image (boot/vmlinuz-RELEASE or lib/modules/RELEASE/vmlinuz). Where a distribution splits a "
        "kernel into several packages, name the one with the image: linux-image or linux-binary, kernel-core",
        package.native());
  }
  if (images.size() > 1) return invalid_input("{} holds {} kernels, not one", package.native(), images.size());
  const auto& release = images.begin()->first;
  const auto finished = scratch.path() / hash;
  TRY_CONTEXT(package.native(), arrange_kernel(tree, release, finished / release));
  TRY(make_directories(folder.parent_path()));
  std::error_code error;
  fs::remove_all(folder, error);  // What open_unpacked() did not take for a kernel.
  fs::rename(finished, folder, error);
  if (error) return errno_error(error.value(), fmt::format("moving the kernel to {}", folder.native()));
  if (auto kernel = open_unpacked(folder)) return std::move(*kernel);
  return host_error("{} cannot be read after it was written", folder.native());
}

std::vector<StoredKernel> unpacked_kernels(const fs::path& cache_dir) {
  std::vector<StoredKernel> kernels;
  for (const auto& folder : folders_in(cache_dir / kPackagesFolder)) {
    if (auto kernel = open_unpacked(folder)) kernels.push_back(std::move(*kernel));
  }
  return kernels;
}

}  // namespace panicroom::kernels
