#include "harness/service/retention.h"

#include <system_error>
#include <vector>

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

// On the disk as it is told; what a run writes meanwhile may be missed.
std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(folder, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code gone;
    if (!entry->is_regular_file(gone) || entry->is_symlink(gone)) continue;
    const auto size = entry->file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

}  // namespace

Result<> remove_old_runs(RunStore& store, const RetentionPolicy& policy, std::chrono::sys_seconds now,
                         const std::function<fs::path(RunId id)>& folder,
                         const std::function<void(RunId id)>& removed) {
  if (policy.keeps_everything()) return {};
  const auto ended = TRY(store.ended());
  std::vector<std::uint64_t> sizes(ended.size());
  std::uint64_t all = 0;
  if (policy.bytes) {
    for (std::size_t i = 0; i < ended.size(); ++i) all += sizes[i] = bytes_below(folder(ended[i].id));
  }
  for (std::size_t i = 0; i < ended.size(); ++i) {
    const std::chrono::sys_seconds end{std::chrono::seconds(ended[i].end_seconds)};
    const bool old = policy.age && now - end > *policy.age;
    const bool too_much = policy.bytes && all > *policy.bytes && i + 1 < ended.size();
    if (!old && !too_much) break;
    // First the run: files that nobody knows are found, and a run without its files would be a lie.
    if (TRY(store.remove(ended[i].id))) {
      std::error_code left;
      fs::remove_all(folder(ended[i].id), left);
      removed(ended[i].id);
    }
    all -= sizes[i];
  }
  return {};
}

}  // namespace panicroom::service
