// Debian's archive through apt, with a state directory of our own: the host's mirrors, proxies, credentials and keys
// are used, its lists, configuration and installed packages are neither read nor touched. Needs no privileges.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/packages/apt_mirrors.h"
#include "kernels/packages/package_archive.h"

namespace panicroom::kernels {

// One apt state per pocket ("bookworm-security") in `state_dir`, so that a failure is the failure of one known pocket.
// Not safe for concurrent use of one state_dir, by threads or processes: the kernel store holds a lock around it.
class AptArchive : public PackageArchive {
 public:
  // `mirrors`: asked of the host's apt when first needed if not given.
  explicit AptArchive(std::filesystem::path state_dir, std::optional<AptMirrors> mirrors = std::nullopt)
      : state_dir_(std::move(state_dir)), mirrors_(std::move(mirrors)) {}

  Result<std::vector<PackageRecord>> find(const std::string& suite, const std::string& package, Lists lists,
                                          const ProgressSink& progress) override;
  Result<std::filesystem::path> download(const PackageRecord& package, const std::filesystem::path& folder,
                                         const ProgressSink& progress) override;

 private:
  // What trying to have a pocket's lists came to.
  enum class PocketState { kUsable, kAbsent };

  Result<PocketState> prepare(const Pocket& pocket, Lists lists, const ProgressSink& progress);
  Result<PocketState> update(const Pocket& pocket, const ProgressSink& progress);
  Result<> configure(const Pocket& pocket, const std::string& mirror);
  Result<std::vector<PackageRecord>> show(const Pocket& pocket, const std::string& package);
  [[nodiscard]] std::filesystem::path folder_of(const std::string& pocket) const { return state_dir_ / pocket; }

  std::filesystem::path state_dir_;
  std::optional<AptMirrors> mirrors_;
};

// The stanzas of `apt-cache show`, those of exactly this package.
Result<std::vector<PackageRecord>> parse_show(std::string text, const std::string& package, const std::string& pocket);

}  // namespace panicroom::kernels
