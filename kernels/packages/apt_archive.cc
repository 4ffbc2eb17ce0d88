#include "kernels/packages/apt_archive.h"

#include <apt-pkg/tagfile.h>

#include <array>
#include <charconv>
#include <chrono>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/subprocess.h"
#include "kernels/packages/kernel_ref.h"

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;

constexpr auto kFreshFor = std::chrono::hours(24);
constexpr const char* kSources = "sources.list";
constexpr const char* kTrialSources = "sources.list.trial";  // Becomes kSources when an update from it has worked.
constexpr const char* kUpdatedMark = "updated";              // A pocket's lists are as new as this file.
constexpr const char* kAbsentMark = "absent";  // The mirrors had no such pocket when this file was written.

// The first name of each dependency in a Depends field: "linux-base (>= 4.1), linux-initramfs-tool | dracut".
std::vector<std::string> dependency_names(std::string_view depends) {
  std::vector<std::string> names;
  while (!depends.empty()) {
    const auto comma = std::min(depends.find(','), depends.size());
    auto name = depends.substr(0, comma);
    depends.remove_prefix(std::min(comma + 1, depends.size()));
    const auto begin = name.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) continue;
    name.remove_prefix(begin);
    names.emplace_back(name.substr(0, name.find_first_of(" \t\n(|:")));
  }
  return names;
}

// What apt says went wrong, without its progress output.
std::string complaint(const ProcessOutput& output) {
  constexpr std::size_t kMaxLines = 4;
  std::string text;
  std::size_t count = 0;
  std::istringstream lines(output.err);
  for (std::string line; count < kMaxLines && std::getline(lines, line);) {
    if (!line.starts_with("E:") && !line.starts_with("W:")) continue;
    if (!text.empty()) text += "; ";
    text += line;
    ++count;
  }
  return text.empty() ? fmt::format("exit status {}", output.exit_status) : text;
}

// The configuration laid over the host's: everything that names a place or an action of the host's apt is set anew.
std::string configuration(const fs::path& folder) {
  const auto& dir = folder.native();
  return fmt::format(
      R"(#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Default-Release;
#clear APT::Architectures;
#clear Acquire::Languages;
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {{
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
}};
Acquire::Languages {{ "none"; }};
Acquire::Retries "2";
Acquire::Retries::Delay "false";
APT::Get::List-Cleanup "false";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::AllowInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
Dir::State "{0}/state";
Dir::State::lists "{0}/state/lists";
Dir::State::status "{0}/state/status";
Dir::Cache "{0}/cache";
Dir::Cache::archives "{0}/cache/archives";
Dir::Cache::pkgcache "{0}/cache/pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "{0}/log";
)",
      dir);
}

std::string keyring_option() {
  for (const char* keyring :
       {"/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"}) {
    std::error_code error;
    if (fs::exists(keyring, error)) return std::string(" signed-by=") + keyring;
  }
  return {};  // Then apt's own trusted keys decide.
}

Result<ProcessOutput> run_apt(const fs::path& folder, std::vector<std::string> argv) {
  argv.insert(argv.begin() + 1, {"-c", (folder / "apt.conf").native()});
  return run_process(argv, {{"LC_ALL", "C"}, {"DEBIAN_FRONTEND", "noninteractive"}});
}

bool is_fresh(const fs::path& mark) {
  std::error_code error;
  const auto written = fs::last_write_time(mark, error);
  const auto now = fs::file_time_type::clock::now();
  return !error && written <= now && now - written < kFreshFor;
}

bool file_exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
}

// No such pocket on this mirror, as opposed to a mirror that does not answer.
bool says_absent(const ProcessOutput& output) {
  return output.err.find("does not have a Release file") != std::string::npos ||
         output.err.find("no longer has a Release file") != std::string::npos;
}

std::string in_megabytes(std::uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

}  // namespace

Result<std::vector<PackageRecord>> parse_show(std::string text, const std::string& package, const std::string& pocket) {
  constexpr std::size_t kMaxShow = std::size_t{16} << 20;
  if (text.size() > kMaxShow) return host_error("apt-cache show {}: more than {} bytes", package, kMaxShow);
  text += "\n\n";  // pkgTagSection wants a stanza's end to be there.
  std::vector<PackageRecord> records;
  std::string_view rest = text;
  while (true) {
    const auto begin = rest.find_first_not_of('\n');
    if (begin == std::string_view::npos) return records;
    rest.remove_prefix(begin);
    pkgTagSection stanza;
    if (!stanza.Scan(rest.data(), rest.size())) return host_error("apt-cache show {}: not a control stanza", package);
    PackageRecord record;
    record.name = stanza.FindS("Package");
    record.version = stanza.FindS("Version");
    record.depends = dependency_names(stanza.FindS("Pre-Depends") + ", " + stanza.FindS("Depends"));
    const auto size = stanza.FindS("Size");
    std::from_chars(size.data(), size.data() + size.size(), record.bytes);
    record.pocket = pocket;
    rest.remove_prefix(std::min<std::size_t>(stanza.size(), rest.size()));
    // apt-cache takes an unknown name for a pattern, and then shows others.
    if (record.name == package && is_package_version(record.version)) records.push_back(std::move(record));
  }
}

Result<> AptArchive::configure(const Pocket& pocket, const std::string& mirror) {
  const auto folder = folder_of(pocket.name);
  if (folder.native().find_first_of("\"\\\n;") != std::string::npos) {
    return invalid_input("the cache folder {} has a character that apt's configuration cannot quote", folder.native());
  }
  for (const char* part : {"state/lists/partial", "cache/archives/partial", "log"}) {
    TRY(make_directories(folder / part));
  }
  // The host's sources may name a password: keep what is copied from them private.
  std::error_code error;
  fs::permissions(state_dir_, fs::perms::owner_all, error);
  if (error) return errno_error(error.value(), fmt::format("making {} private", state_dir_.native()));
  TRY(write_file(folder / "state/status", ""));
  TRY(write_file(folder / "apt.conf", configuration(folder)));
  TRY(write_file(folder / kTrialSources,
                 fmt::format("deb [arch=amd64{}] {} {} main\n", keyring_option(), mirror, pocket.name)));
  return {};
}

Result<AptArchive::PocketState> AptArchive::update(const Pocket& pocket, const ProgressSink& progress) {
  if (!mirrors_) mirrors_ = TRY(host_mirrors());
  const auto folder = folder_of(pocket.name);
  tell(progress, fmt::format("updating the package lists of {}", pocket.name));
  std::string failures;
  const auto& mirrors = pocket.security ? mirrors_->security : mirrors_->archive;
  if (mirrors.empty()) return host_error("apt knows no mirror that could have {}", pocket.name);
  bool everywhere_absent = true;
  for (const auto& mirror : mirrors) {
    TRY(configure(pocket, mirror));
    const auto output = TRY(run_apt(folder, {"apt-get", "-q", "--error-on=any", "-o",
                                             "Dir::Etc::sourcelist=" + (folder / kTrialSources).native(), "update"}));
    if (output.exit_status == 0) {
      std::error_code error;
      fs::rename(folder / kTrialSources, folder / kSources, error);
      if (error) return errno_error(error.value(), fmt::format("renaming {}", (folder / kTrialSources).native()));
      remove_file(folder / kAbsentMark);
      TRY(write_file(folder / kUpdatedMark, ""));
      return PocketState::kUsable;
    }
    everywhere_absent = everywhere_absent && says_absent(output);
    failures += fmt::format("{}{}", failures.empty() ? "" : "; ", complaint(output));
  }
  if (everywhere_absent) {
    remove_file(folder / kUpdatedMark);
    TRY(write_file(folder / kAbsentMark, ""));
    return PocketState::kAbsent;
  }
  return host_error("cannot update the package lists of {}: {}", pocket.name, failures);
}

Result<AptArchive::PocketState> AptArchive::prepare(const Pocket& pocket, Lists lists, const ProgressSink& progress) {
  const auto updated = folder_of(pocket.name) / kUpdatedMark;
  const auto absent = folder_of(pocket.name) / kAbsentMark;
  if (lists == Lists::kCached) return file_exists(updated) ? PocketState::kUsable : PocketState::kAbsent;
  if (lists == Lists::kFresh) {
    if (is_fresh(updated)) return PocketState::kUsable;
    if (is_fresh(absent)) return PocketState::kAbsent;
  }
  auto result = update(pocket, progress);
  if (result || lists == Lists::kUpdated) return result;
  if (file_exists(updated)) {
    tell(progress, fmt::format("using the old package lists of {}: {}", pocket.name, result.error().message()));
    return PocketState::kUsable;
  }
  if (!pocket.required) {
    tell(progress, fmt::format("going on without {}: {}", pocket.name, result.error().message()));
    return PocketState::kAbsent;
  }
  return result;
}

Result<std::vector<PackageRecord>> AptArchive::show(const Pocket& pocket, const std::string& package) {
  const auto folder = folder_of(pocket.name);
  const auto output = TRY(run_apt(folder, {"apt-cache", "show", package}));
  if (output.exit_status != 0) {
    if (output.err.find("No packages found") != std::string::npos) return std::vector<PackageRecord>();
    return host_error("apt-cache show {} in {}: {}", package, pocket.name, complaint(output));
  }
  return parse_show(output.out, package, pocket.name);
}

Result<std::vector<PackageRecord>> AptArchive::find(const std::string& suite, const std::string& package, Lists lists,
                                                    const ProgressSink& progress) {
  if (!is_suite_name(suite)) return invalid_input("'{}' is not the name of a Debian suite", suite);
  if (!is_release_name(package)) return invalid_input("'{}' is not the name of a Debian package", package);
  std::vector<PackageRecord> found;
  for (const auto& pocket : pockets_of(suite)) {
    if (TRY(prepare(pocket, lists, progress)) == PocketState::kAbsent) {
      if (!pocket.required) continue;
      if (lists == Lists::kCached) return found;
      return invalid_input("the mirrors that apt is configured with have no suite '{}'", suite);
    }
    for (auto& record : TRY(show(pocket, package))) found.push_back(std::move(record));
  }
  return found;
}

Result<fs::path> AptArchive::download(const PackageRecord& package, const fs::path& folder,
                                      const ProgressSink& progress) {
  tell(progress, fmt::format("fetching {} {} from {} ({})", package.name, package.version, package.pocket,
                             in_megabytes(package.bytes)));
  const auto apt_conf = folder_of(package.pocket) / "apt.conf";
  // apt-get writes into the current folder.
  const auto output = TRY(run_process({"env", "-C", folder.native(), "apt-get", "-c", apt_conf.native(), "-q",
                                       "download", package.name + "=" + package.version},
                                      {{"LC_ALL", "C"}, {"DEBIAN_FRONTEND", "noninteractive"}}));
  if (output.exit_status != 0) {
    return host_error("cannot fetch {} {}: {}", package.name, package.version, complaint(output));
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".deb") return entry.path();
  }
  return host_error("apt-get download {}={} wrote no .deb into {}", package.name, package.version, folder.native());
}

}  // namespace panicroom::kernels
