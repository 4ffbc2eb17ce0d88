#include "kernels/packages/kernel_pattern.h"

#include <fnmatch.h>
#include <glob.h>
#include <string.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <system_error>

namespace panicroom::kernels {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDebian = "debian:";
constexpr std::string_view kModules = ":modules=";
constexpr std::size_t kMaxFiles = 1000;

bool has_wildcard(std::string_view text) { return text.find_first_of("*?[") != std::string_view::npos; }

std::vector<std::string> names_matching(const std::string& pattern, const std::vector<std::string>& names) {
  if (!has_wildcard(pattern)) return {pattern};
  std::vector<std::string> matching;
  std::copy_if(names.begin(), names.end(), std::back_inserter(matching),
               [&](const std::string& name) { return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
  return matching;
}

Result<std::vector<KernelRef>> debian_references(std::string_view pattern) {
  const auto name = pattern.substr(kDebian.size());
  const auto slash = name.find('/');
  if (slash == std::string_view::npos || name.find('/', slash + 1) != std::string_view::npos) {
    return invalid_input("{}: wildcards stand in debian:SUITE/FLAVOUR, such as debian:*/cloud-amd64", pattern);
  }
  std::vector<KernelRef> references;
  for (const auto& suite : names_matching(std::string(name.substr(0, slash)), suites_with_kernels())) {
    for (const auto& flavour : names_matching(std::string(name.substr(slash + 1)), kernel_flavours())) {
      references.push_back(TRY(KernelRef::parse(fmt::format("{}{}/{}", kDebian, suite, flavour))));
    }
  }
  return references;
}

struct GlobFree {
  void operator()(glob_t* found) const { ::globfree(found); }
};

Result<std::vector<KernelRef>> file_references(std::string_view pattern) {
  const auto modules = pattern.find(kModules);
  const std::string path(pattern.substr(0, modules));
  const std::string suffix(modules == std::string_view::npos ? std::string_view() : pattern.substr(modules));
  glob_t found{};
  const std::unique_ptr<glob_t, GlobFree> freed(&found);
  const int status = ::glob(path.c_str(), GLOB_NOSORT, nullptr, &found);
  if (status != 0 && status != GLOB_NOMATCH) return host_error("{}: the folder cannot be searched", pattern);
  std::vector<std::string> files;
  std::set<fs::path> seen;
  for (std::size_t i = 0; i < found.gl_pathc; ++i) {
    std::error_code error;
    const fs::path file = found.gl_pathv[i];
    if (!fs::is_regular_file(file, error)) continue;
    files.push_back(file.native());
  }
  if (files.size() > kMaxFiles) return invalid_input("{}: more than {} files match", pattern, kMaxFiles);
  // Not version_less(): the paths are no versions, whose last '-' has a meaning.
  std::sort(files.begin(), files.end(), [](const std::string& left, const std::string& right) {
    return ::strverscmp(left.c_str(), right.c_str()) < 0;
  });
  std::vector<KernelRef> references;
  for (const auto& file : files) {
    std::error_code error;
    const auto target = fs::canonical(file, error);
    if (!seen.insert(error ? fs::path(file) : target).second) continue;
    references.push_back(TRY(KernelRef::parse(file + suffix)));
  }
  return references;
}

}  // namespace

const std::vector<std::string>& suites_with_kernels() {
  static const std::vector<std::string> kSuites = {"bullseye",         "bookworm", "trixie",
                                                   "trixie-backports", "forky",    "sid"};
  return kSuites;
}

const std::vector<std::string>& kernel_flavours() {
  static const std::vector<std::string> kFlavours = {"amd64", "cloud-amd64", "rt-amd64"};
  return kFlavours;
}

bool is_kernel_pattern(std::string_view text) {
  if (!has_wildcard(text) || text.find('\0') != std::string_view::npos) return false;
  if (text.starts_with(kDebian)) return true;
  std::error_code error;
  return has_wildcard(text.substr(0, text.find(kModules))) && !fs::exists(text.substr(0, text.find(kModules)), error);
}

Result<std::vector<KernelRef>> references_matching(std::string_view pattern) {
  return pattern.starts_with(kDebian) ? debian_references(pattern) : file_references(pattern);
}

}  // namespace panicroom::kernels
