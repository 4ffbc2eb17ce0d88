#include "kernels/packages/kernel_tree.h"

#include <array>
#include <system_error>

#include "base/file.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;

// Moves the first candidate that exists. True if there was one.
Result<bool> move_first(const std::vector<fs::path>& candidates, const fs::path& target) {
  for (const auto& candidate : candidates) {
    std::error_code error;
    if (!fs::exists(candidate, error)) continue;
    fs::rename(candidate, target, error);
    if (error) return errno_error(error.value(), fmt::format("moving {}", candidate.native()));
    return true;
  }
  return false;
}

}  // namespace

const std::vector<std::string>& kernel_tree_prefixes() {
  static const std::vector<std::string> kPrefixes = {"boot/vmlinuz-", "boot/config-", "lib/modules/",
                                                     "usr/lib/modules/"};
  return kPrefixes;
}

Result<> arrange_kernel(const fs::path& tree, const std::string& release, const fs::path& folder) {
  // 7.2 and later keep image and configuration among the modules.
  const std::array<fs::path, 2> modules = {tree / "lib/modules" / release, tree / "usr/lib/modules" / release};
  TRY(make_directories(folder));
  const bool has_image = TRY(move_first(
      {tree / "boot" / ("vmlinuz-" + release), modules[0] / "vmlinuz", modules[1] / "vmlinuz"}, folder / kImageFile));
  if (!has_image) return invalid_input("the package holds no kernel image of release {}", release);
  TRY(move_first({tree / "boot" / ("config-" + release), modules[0] / "config", modules[1] / "config"},
                 folder / kConfigFile));
  for (const auto& path : modules) {
    // Without its modules package such a kernel has left nothing there.
    std::error_code ignored;
    if (fs::is_empty(path, ignored) && !ignored) fs::remove(path, ignored);
  }
  TRY(move_first({modules[0], modules[1]}, folder / kModulesFolder));
  return {};
}

}  // namespace panicroom::kernels
