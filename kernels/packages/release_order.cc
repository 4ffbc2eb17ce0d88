#include "kernels/packages/release_order.h"

#include <apt-pkg/debversion.h>

#include <algorithm>
#include <array>
#include <system_error>

namespace panicroom::kernels {

bool version_less(std::string_view left, std::string_view right) {
  return debVS.DoCmpVersion(left.data(), left.data() + left.size(), right.data(), right.data() + right.size()) < 0;
}

std::vector<std::string> vmlinuz_releases(const std::filesystem::path& folder) {
  constexpr std::string_view kPrefix = "vmlinuz-";
  constexpr std::array<std::string_view, 4> kBackups = {".old", ".bak", ".dpkg-", "~"};
  std::vector<std::string> releases;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const auto name = entry->path().filename().native();
    if (!name.starts_with(kPrefix)) continue;
    auto release = name.substr(kPrefix.size());
    const auto is_backup = [&](std::string_view mark) { return release.find(mark) != std::string::npos; };
    // "rescue" is Fedora's and Red Hat's image that never is the newest.
    if (release.empty() || std::any_of(kBackups.begin(), kBackups.end(), is_backup)) continue;
    if (release.find("rescue") != std::string::npos) continue;
    releases.push_back(std::move(release));
  }
  std::sort(releases.begin(), releases.end(), version_less);
  return releases;
}

std::optional<std::string> newest_vmlinuz(const std::filesystem::path& folder) {
  auto releases = vmlinuz_releases(folder);
  if (releases.empty()) return std::nullopt;
  return std::move(releases.back());
}

}  // namespace panicroom::kernels
