// Where this host gets Debian packages from, as its apt sees it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace panicroom::kernels {

// Base URIs, those before "/dists/", in the order in which apt has them.
struct AptMirrors {
  std::vector<std::string> archive;   // With suites such as bookworm and bookworm-updates.
  std::vector<std::string> security;  // With bookworm-security. If apt has none: the places beside `archive`.
};

// From the output of `apt-get update --print-uris`, which understands every form of sources that apt does, needs no
// privileges and no network. Third parties that name their suites as Debian does are among the result: signatures tell
// them apart. kHost, saying what to add, if apt is configured with no mirror of Debian.
Result<AptMirrors> parse_mirrors(std::string_view print_uris);

// Runs that command.
Result<AptMirrors> host_mirrors();

// The suites that kernels are searched in when only a release is named, oldest first.
const std::vector<std::string>& debian_suites();

// The parts of a suite, most important first, and which of them lie on the security mirror.
struct Pocket {
  std::string name;
  bool security = false;
  bool required = false;  // The suite itself; the others need not exist.
};
std::vector<Pocket> pockets_of(std::string_view suite);

}  // namespace panicroom::kernels
