// Where Debian's kernel packages put their files, in all the ways that they have done so since 5.10.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace panicroom::kernels {

// What a kernel's folder in the cache holds.
inline constexpr const char* kImageFile = "vmlinuz";
inline constexpr const char* kConfigFile = "config";  // Not there if the packages have none.
inline constexpr const char* kModulesFolder = "modules";

// The paths in a package under which all that is needed lies.
const std::vector<std::string>& kernel_tree_prefixes();

// Moves image, configuration and modules out of unpacked packages into a new folder on the same file system.
// kInvalidInput if the packages have no kernel image of that release.
Result<> arrange_kernel(const std::filesystem::path& tree, const std::string& release,
                        const std::filesystem::path& folder);

}  // namespace panicroom::kernels
