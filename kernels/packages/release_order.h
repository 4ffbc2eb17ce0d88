// The order of Debian package versions and kernel releases, as dpkg has it (deb-version(7)): "6.1.0-9" before
// "6.1.0-10", "7.3~rc4" before "7.3".
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace panicroom::kernels {

bool version_less(std::string_view left, std::string_view right);

// The releases of the vmlinuz-RELEASE in a folder such as /boot, oldest first. Backups that package managers leave
// (.old, .bak, .dpkg-*) do not count.
std::vector<std::string> vmlinuz_releases(const std::filesystem::path& folder);

// The newest of them; nothing if there is none.
std::optional<std::string> newest_vmlinuz(const std::filesystem::path& folder);

}  // namespace panicroom::kernels
