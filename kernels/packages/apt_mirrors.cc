#include "kernels/packages/apt_mirrors.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "base/subprocess.h"

namespace panicroom::kernels {
namespace {

bool is_security_suite(std::string_view suite) { return suite.ends_with("-security") || suite.ends_with("/updates"); }

// A suite of Debian's own: a codename or alias that is known here, or a pocket of one.
bool is_debian_suite(std::string_view suite) {
  static constexpr std::array<std::string_view, 8> kAliases = {"stable",       "testing",      "unstable", "oldstable",
                                                               "oldoldstable", "experimental", "buster",   "duke"};
  const auto base = suite.substr(0, suite.find_first_of("-/"));
  const auto& names = debian_suites();
  return std::find(names.begin(), names.end(), base) != names.end() ||
         std::find(kAliases.begin(), kAliases.end(), base) != kAliases.end();
}

// A URI ends up in a line of a sources.list, where these would end it or begin an option.
bool is_plain_uri(std::string_view uri) {
  return !uri.empty() && uri.size() < 1000 &&
         std::all_of(uri.begin(), uri.end(), [](char c) { return c > ' ' && c < 0x7f && c != '[' && c != ']'; });
}

void add_once(std::vector<std::string>& list, std::string entry) {
  if (std::find(list.begin(), list.end(), entry) == list.end()) list.push_back(std::move(entry));
}

}  // namespace

const std::vector<std::string>& debian_suites() {
  static const std::vector<std::string> kSuites = {"bullseye", "bookworm", "trixie", "forky", "sid"};
  return kSuites;
}

std::vector<Pocket> pockets_of(std::string_view suite) {
  const std::string name(suite);
  if (suite.ends_with("-security")) return {{name, true, true}};
  if (suite.find('-') != std::string_view::npos || suite == "sid" || suite == "unstable" || suite == "experimental") {
    return {{name, false, true}};
  }
  return {{name, false, true}, {name + "-security", true, false}, {name + "-updates", false, false}};
}

Result<AptMirrors> parse_mirrors(std::string_view print_uris) {
  constexpr std::string_view kDists = "/dists/";
  constexpr std::string_view kRelease = "/InRelease";
  AptMirrors mirrors;
  std::istringstream lines{std::string(print_uris)};
  for (std::string text; std::getline(lines, text);) {
    std::string_view line = text;
    if (!line.starts_with('\'')) continue;
    line.remove_prefix(1);
    const auto uri = line.substr(0, line.find('\''));
    const auto dists = uri.rfind(kDists);
    if (dists == std::string_view::npos || !uri.ends_with(kRelease) || uri.starts_with("cdrom:")) continue;
    const auto suite_begin = dists + kDists.size();
    if (uri.size() < suite_begin + kRelease.size()) continue;
    const auto suite = uri.substr(suite_begin, uri.size() - kRelease.size() - suite_begin);
    const auto base = uri.substr(0, dists);
    if (!is_debian_suite(suite) || !is_plain_uri(base)) continue;
    add_once(is_security_suite(suite) ? mirrors.security : mirrors.archive, std::string(base));
  }
  if (mirrors.archive.empty()) {
    return host_error(
        "apt on this host has no mirror of Debian: add one to /etc/apt/sources.list.d (see sources.list(5)), or name a "
        "kernel by its path");
  }
  if (mirrors.security.empty()) {
    for (const auto& base : mirrors.archive) add_once(mirrors.security, base + "-security");
  }
  return mirrors;
}

Result<AptMirrors> host_mirrors() {
  const auto listed = TRY(run_process({"apt-get", "update", "--print-uris"}, {{"LC_ALL", "C"}}));
  if (listed.exit_status != 0) return host_error("apt-get update --print-uris: {}", listed.err);
  return parse_mirrors(listed.out);
}

}  // namespace panicroom::kernels
