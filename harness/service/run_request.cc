#include "harness/service/run_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "harness/report/untrusted_text.h"
#include "harness/scenario/parser.h"
#include "harness/scenario/selection.h"
#include "harness/scenario/yaml_document.h"
#include "harness/service/run_name.h"
#include "kernels/packages/kernel_pattern.h"
#include "kernels/packages/kernel_ref.h"

namespace panicroom::service {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxViolations = 100;
constexpr std::size_t kMaxText = 300;  // Of a name, a reference, a tier.
constexpr std::size_t kMaxPath = 200;
// As the command line has them.
constexpr std::uint32_t kMaxRepeat = 100'000;
constexpr std::uint32_t kMaxJobs = 256;

// The files that were named themselves, beside the scenarios: their folder holds nothing else.
constexpr const char* kNamedFile = "named";

bool is_scenario_path(std::string_view path) {
  return path.size() <= kMaxPath && is_plain_path(path) && (path.ends_with(".yaml") || path.ends_with(".yml"));
}

// True for what lies in the folder, by the names that both have without links.
bool lies_below(const fs::path& path, const fs::path& folder) {
  std::error_code error;
  const auto real = fs::canonical(path, error);
  if (error) return false;
  const auto real_folder = fs::canonical(folder, error);
  if (error) return false;
  return std::mismatch(real_folder.begin(), real_folder.end(), real.begin(), real.end()).first == real_folder.end();
}

class Stager {
 public:
  Stager(const v1::StartRunRequest& request, const RequestPolicy& policy, const fs::path& folder)
      : request_(request), policy_(policy), folder_(folder) {}

  Result<CheckedRequest> run();

 private:
  template <typename... Args>
  void wrong(const std::string& field, fmt::format_string<Args...> format, Args&&... args) {
    if (checked_.violations.size() >= kMaxViolations) return;
    checked_.violations.push_back(
        {.field = field, .description = harness::escape_untrusted(fmt::format(format, std::forward<Args>(args)...))});
  }

  void check_texts(const std::string& field, const google::protobuf::RepeatedPtrField<std::string>& texts,
                   std::string_view mistake);
  void check_options();
  void check_kernel(const std::string& field, const std::string& reference);
  Result<> write_files();
  Result<> copy_catalogue();
  Result<> copy_catalogue_file(int index, const fs::path& from, bool named);
  Result<> add_file(const std::string& field, const std::string& path, std::string_view text, bool named);
  void check_scenarios();
  void check_machine(const harness::Scenario& scenario);

  const v1::StartRunRequest& request_;
  const RequestPolicy& policy_;
  const fs::path& folder_;
  CheckedRequest checked_;
  std::map<std::string, std::string> fields_;  // By the file's path: what the request calls it.
  std::string named_;                          // Paths of the files that were named themselves, a line each.
};

void Stager::check_texts(const std::string& field, const google::protobuf::RepeatedPtrField<std::string>& texts,
                         std::string_view mistake) {
  for (int i = 0; i < texts.size() && i < static_cast<int>(kMaxViolations); ++i) {
    if (texts.Get(i).empty() || texts.Get(i).size() > kMaxText) wrong(fmt::format("{}[{}]", field, i), "{}", mistake);
  }
  if (texts.size() > static_cast<int>(kMaxViolations)) wrong(field, "more than {}", kMaxViolations);
}

void Stager::check_options() {
  const auto& options = request_.options();
  if (!is_engine_word(options.engine())) {
    wrong("options.engine", "'{}' is none of auto, kvm, qemu", options.engine().substr(0, kMaxText));
  }
  if (options.repeat() > kMaxRepeat) wrong("options.repeat", "more than {}", kMaxRepeat);
  if (options.jobs() > kMaxJobs) wrong("options.jobs", "more than {}", kMaxJobs);
  check_texts("options.tiers", options.tiers(), "is not the name of a tier");
  check_texts("options.names", options.names(), "is not a pattern of scenarios' names");
  if (options.kernels_size() > static_cast<int>(policy_.max_kernels)) {
    wrong("options.kernels", "more than {}", policy_.max_kernels);
  } else {
    for (int i = 0; i < options.kernels_size(); ++i) {
      check_kernel(fmt::format("options.kernels[{}]", i), options.kernels(i));
    }
  }
  if (!options.capture_kernel().empty()) {
    if (kernels::is_kernel_pattern(options.capture_kernel())) {
      wrong("options.capture_kernel", "a pattern, where one kernel is wanted");
    } else {
      check_kernel("options.capture_kernel", options.capture_kernel());
    }
  }
}

void Stager::check_kernel(const std::string& field, const std::string& reference) {
  if (const auto violation = kernel_violation(reference, policy_)) wrong(field, "{}", *violation);
}

Result<> Stager::add_file(const std::string& field, const std::string& path, std::string_view text, bool named) {
  if (!fields_.emplace(path, field).second) {
    wrong(field, "there is a file {} already", path);
    return {};
  }
  std::error_code error;
  const auto where = folder_ / path;
  // A file where another one's folder is, or the other way round.
  fs::create_directories(where.parent_path(), error);
  if (error || fs::exists(where, error)) {
    wrong(field, "{} is a file and a folder", path);
    return {};
  }
  TRY(write_file(where, text));
  if (named) named_ += path + "\n";
  return {};
}

Result<> Stager::write_files() {
  for (int i = 0; i < request_.scenario_files_size(); ++i) {
    const auto& file = request_.scenario_files(i);
    const auto field = fmt::format("scenario_files[{}]", i);
    if (!is_scenario_path(file.path())) {
      wrong(field + ".path", "'{}' is not a plain relative path of at most {} bytes that ends in .yaml or .yml",
            file.path().substr(0, kMaxText), kMaxPath);
    } else if (file.yaml().size() > harness::kMaxFileBytes) {
      wrong(field + ".yaml", "larger than {} KiB: not a scenario", harness::kMaxFileBytes / 1024);
    } else {
      TRY(add_file(field + ".yaml", file.path(), file.yaml(), file.named()));
    }
  }
  return {};
}

Result<> Stager::copy_catalogue_file(int index, const fs::path& from, bool named) {
  const auto field = fmt::format("catalogue[{}]", index);
  if (fields_.size() >= policy_.max_files) {
    if (fields_.size() == policy_.max_files) wrong(field, "more than {} scenario files", policy_.max_files);
    return {};
  }
  const auto path = from.lexically_relative(policy_.catalogue).generic_string();
  // Twice in the request, as a folder and by itself, is no mistake.
  if (fields_.contains(path)) {
    if (named) named_ += path + "\n";
    return {};
  }
  std::error_code error;
  if (fs::file_size(from, error) > harness::kMaxFileBytes || error) {
    wrong(field, "{} cannot be read, or is larger than a scenario", path);
    return {};
  }
  return add_file(field, path, TRY(read_text_file(from)), named);
}

Result<> Stager::copy_catalogue() {
  for (int i = 0; i < request_.catalogue_size(); ++i) {
    const auto& name = request_.catalogue(i);
    const auto field = fmt::format("catalogue[{}]", i);
    const auto path = policy_.catalogue / (name == "." ? "" : name);
    std::error_code error;
    if (policy_.catalogue.empty()) {
      wrong(field, "the server has no catalogue");
      return {};
    }
    if ((name != "." && !is_plain_path(name)) || !lies_below(path, policy_.catalogue)) {
      wrong(field, "'{}' is not in the server's catalogue", name.substr(0, kMaxText));
    } else if (fs::is_regular_file(path, error)) {
      if (!is_scenario_path(name)) {
        wrong(field, "'{}' is not in the server's catalogue", name);
      } else {
        TRY(copy_catalogue_file(i, path, true));
      }
    } else {
      std::vector<fs::path> files;
      for (fs::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
        std::error_code ignored;
        if (it->is_regular_file(ignored) && !it->is_symlink(ignored) &&
            is_scenario_path(it->path().lexically_relative(policy_.catalogue).generic_string())) {
          files.push_back(it->path());
        }
      }
      if (files.empty()) wrong(field, "there is no scenario in '{}'", name);
      std::ranges::sort(files);
      for (const auto& file : files) TRY(copy_catalogue_file(i, file, false));
    }
  }
  return {};
}

void Stager::check_machine(const harness::Scenario& scenario) {
  const std::uint64_t jobs = std::max(request_.options().jobs(), 1u);
  checked_.vcpus = std::max(checked_.vcpus, static_cast<std::uint32_t>(scenario.machine.vcpus * jobs));
  checked_.memory_bytes = std::max(checked_.memory_bytes, scenario.machine.memory_bytes * jobs);
  const auto path = scenario.file.lexically_relative(folder_).generic_string();
  const auto& field = fields_[path];
  if (scenario.machine.vcpus * jobs > policy_.max_vcpus) {
    wrong(field, "{}: error: scenario {}: {} vCPUs in {} machines, and the server has {} for a run", path,
          scenario.name, scenario.machine.vcpus, jobs, policy_.max_vcpus);
  }
  if (scenario.machine.memory_bytes > policy_.max_memory_bytes / jobs) {
    wrong(field, "{}: error: scenario {}: {} MiB in each of {} machines, and the server has {} MiB for a run", path,
          scenario.name, scenario.machine.memory_bytes >> 20, jobs, policy_.max_memory_bytes >> 20);
  }
}

void Stager::check_scenarios() {
  std::vector<fs::path> paths = {folder_};
  for (std::string_view left = named_; !left.empty();) {
    const auto line = left.substr(0, left.find('\n'));
    paths.push_back(folder_ / line);
    left.remove_prefix(line.size() + 1);
  }
  auto parsed = harness::load(paths);
  const auto prefix = folder_.string() + "/";
  const auto without_prefix = [&](std::string text) {
    for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at))
      text.erase(at, prefix.size());
    return text;
  };
  for (auto diagnostic : parsed.diagnostics) {
    diagnostic.file = without_prefix(diagnostic.file);
    diagnostic.message = without_prefix(diagnostic.message);
    auto text = harness::render({&diagnostic, 1});
    text.pop_back();
    const auto field = fields_.find(diagnostic.file);
    wrong(field == fields_.end() ? "scenario_files" : field->second, "{}", text);
  }
  if (!parsed.diagnostics.empty()) return;
  const auto& options = request_.options();
  const harness::Selectors selectors{.tiers = {options.tiers().begin(), options.tiers().end()},
                                     .names = {options.names().begin(), options.names().end()}};
  const auto selection = harness::select_scenarios(std::move(parsed.scenarios), selectors);
  if (!selection) {
    return wrong(selectors.names.empty() ? "options.tiers" : "options.names", "{}", selection.error().message());
  }
  for (const auto& scenario : selection->scenarios) check_machine(scenario);

  std::uint64_t kernels = 0;
  for (const auto& reference : request_.options().kernels()) {
    // What it stands for is not known before the archive has been asked.
    kernels += kernels::is_kernel_pattern(reference)
                   ? kernels::suites_with_kernels().size() * kernels::kernel_flavours().size()
                   : 1;
  }
  const auto trials = selection->scenarios.size() * std::max<std::uint64_t>(kernels, 1) *
                      std::max<std::uint64_t>(request_.options().repeat(), 1);
  if (trials > policy_.max_trials)
    wrong("options", "up to {} trials, at most {} are taken", trials, policy_.max_trials);
  checked_.scenarios = static_cast<std::uint32_t>(selection->scenarios.size());
}

Result<CheckedRequest> Stager::run() {
  check_options();
  if (request_.scenario_files().empty() && request_.catalogue().empty()) {
    wrong("scenario_files", "there is nothing to run");
  } else if (static_cast<std::size_t>(request_.scenario_files_size()) > policy_.max_files ||
             request_.catalogue_size() > static_cast<int>(kMaxViolations)) {
    wrong("scenario_files", "more than {} scenario files, or {} names of the catalogue", policy_.max_files,
          kMaxViolations);
  } else {
    TRY(make_directories(folder_));
    TRY(write_files());
    TRY(copy_catalogue());
  }
  if (checked_.violations.empty()) check_scenarios();
  if (checked_.violations.empty()) TRY(write_file(folder_.parent_path() / kNamedFile, named_));
  return std::move(checked_);
}

}  // namespace

bool is_engine_word(std::string_view word) {
  static constexpr std::array<std::string_view, 4> kEngines = {"", "auto", "kvm", "qemu"};
  return std::ranges::find(kEngines, word) != kEngines.end();
}

std::optional<std::string> kernel_violation(const std::string& reference, const RequestPolicy& policy) {
  if (reference.size() > kMaxText || reference.find('\0') != std::string::npos) return "is not a kernel reference";
  constexpr std::string_view kDebian = "debian:";
  const auto parsed = kernels::KernelRef::parse(reference);
  // Of a pattern of paths it would have to be decided twice, here and where it is expanded, what it stands for.
  if (reference.find_first_of("*?[") != std::string::npos) {
    if (reference.starts_with(kDebian)) return std::nullopt;
    return fmt::format("'{}': only patterns that begin with debian: are taken", reference);
  }
  if (!parsed) return parsed.error().message();
  const auto* file = std::get_if<kernels::KernelFile>(&parsed->target());
  if (file == nullptr) return std::nullopt;
  for (const auto& path : {file->image, file->modules}) {
    if (path.empty()) continue;
    const bool allowed = path.is_absolute() && std::ranges::any_of(policy.kernel_folders, [&](const auto& folder) {
                           return lies_below(path, folder);
                         });
    // The same words for what is not there: what lies where on the server is none of the client's business.
    if (!allowed) {
      return fmt::format("'{}': the server's operator allows no such path; name a kernel as debian:...", reference);
    }
  }
  return std::nullopt;
}

Result<CheckedRequest> stage_run(const v1::StartRunRequest& request, const RequestPolicy& policy,
                                 const fs::path& folder) {
  return Stager(request, policy, folder).run();
}

std::vector<std::string> run_arguments(const v1::RunOptions& options, const fs::path& folder) {
  std::vector<std::string> arguments;
  std::error_code error;
  std::set<std::string> folders;
  bool loose = false;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory(error)) {
      folders.insert(entry.path().filename().string());
    } else {
      loose = true;
    }
  }
  // A file on the command line is named, so what lies loose has to be found in the folder that it lies in.
  if (loose) {
    arguments.emplace_back(".");
  } else {
    arguments.assign(folders.begin(), folders.end());
  }
  const auto named = read_text_file(folder.parent_path() / kNamedFile);
  for (std::string_view left = named ? std::string_view(*named) : ""; !left.empty();) {
    const auto line = left.substr(0, left.find('\n'));
    arguments.emplace_back(line);
    left.remove_prefix(line.size() + 1);
  }
  // With '=', so that no value can be taken for an option.
  for (const auto& tier : options.tiers()) arguments.push_back("--tier=" + tier);
  for (const auto& name : options.names()) arguments.push_back("--name=" + name);
  for (const auto& kernel : options.kernels()) arguments.push_back("--kernel=" + kernel);
  if (!options.capture_kernel().empty()) arguments.push_back("--capture-kernel=" + options.capture_kernel());
  if (!options.engine().empty()) arguments.push_back("--engine=" + options.engine());
  if (options.repeat() > 0) arguments.push_back(fmt::format("--repeat={}", options.repeat()));
  if (options.jobs() > 0) arguments.push_back(fmt::format("--jobs={}", options.jobs()));
  return arguments;
}

}  // namespace panicroom::service
