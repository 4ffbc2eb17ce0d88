// Kernels that the user has as files: an image, a folder with an image and its modules, a package of any distribution.
#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "kernels/packages/package_archive.h"
#include "kernels/packages/stored_kernel.h"

namespace panicroom::kernels {

// An image, with the configuration and modules that lie where distributions and the kernel's build put them: beside it
// ("config-RELEASE", "config", "modules/"), in lib/modules/RELEASE of the tree whose boot/ it is in, or in the folder
// of modules that it is in itself. The image is not looked into. kInvalidInput if this user cannot read it.
Result<StoredKernel> kernel_of_file(const std::filesystem::path& image);

// The one kernel in a folder: an unpacked package or a root file system (boot/vmlinuz-RELEASE,
// [usr/]lib/modules/RELEASE/vmlinuz), a folder such as /boot, a folder of modules with its image, the kernel's build
// tree. kInvalidInput, naming them, if there are several; if there is none, saying what was looked for.
Result<StoredKernel> kernel_in_folder(const std::filesystem::path& folder);

// The kernel in a .deb or .rpm, which is unpacked into cache_dir/packages/SHA256/RELEASE/ unless it is there already:
// there as a whole or not at all, whatever interrupts it. Nothing verifies such a package: it is as trustworthy as
// where it came from. Errors as read_package() has them; kInvalidInput if there is no kernel image in it.
Result<StoredKernel> kernel_of_package(const std::filesystem::path& package, const std::filesystem::path& cache_dir,
                                       const ProgressSink& progress);

// The kernels that kernel_of_package() has put into the cache, in no order.
std::vector<StoredKernel> unpacked_kernels(const std::filesystem::path& cache_dir);

// True for a file that begins as a package does.
bool is_package_file(const std::filesystem::path& path);

}  // namespace panicroom::kernels
