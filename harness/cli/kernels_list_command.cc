// `panicroom kernels list`: what the archive offers, and what of it is in the cache.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>

#include "harness/cli/commands.h"
#include "harness/report/progress.h"
#include "harness/report/untrusted_text.h"
#include "kernels/packages/kernel_pattern.h"
#include "kernels/packages/kernel_store.h"

namespace panicroom::cli {
namespace {

using Row = std::array<std::string, 4>;

// Columns as wide as their widest cell; the last is not padded.
void print_table(const std::vector<Row>& rows) {
  std::array<std::size_t, std::tuple_size_v<Row>> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], harness::columns(row[i]));
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - harness::columns(row[i]) + 2, ' ');
    }
    fmt::print("{}{}\n", line, row.back());
  }
}

Row row_of(std::string reference, const kernels::StoredKernel& kernel) {
  return {std::move(reference), harness::escape_untrusted(kernel.release),
          kernel.package_version.empty() ? "-" : kernel.package_version, kernel.image.native()};
}

// How a kernel of the cache is named again.
std::string reference_of(const kernels::StoredKernel& kernel) {
  return kernel.package_version.empty() ? "(a package's path)" : "debian:" + kernel.release;
}

// What the suites offer. A suite that cannot be looked at is told and left out; where the archive is evidently out of
// reach, the rest is what is known already.
Result<std::vector<kernels::KernelStore::Offer>> offers_of(kernels::KernelStore& store, std::vector<std::string> suites,
                                                           harness::Progress& progress) {
  constexpr int kFailuresThatMeanOffline = 2;
  const bool chosen = !suites.empty();
  // The newest first: what they are tells the most.
  if (!chosen) suites.assign(kernels::suites_with_kernels().rbegin(), kernels::suites_with_kernels().rend());
  std::vector<kernels::KernelStore::Offer> offers;
  int failures = 0;
  bool reached = false;
  for (const auto& suite : suites) {
    const auto lists =
        !reached && failures >= kFailuresThatMeanOffline ? kernels::Lists::kCached : kernels::Lists::kFresh;
    progress.show({.subject = "looking at " + suite});
    auto found = store.offers(suite, lists, [&](std::string_view line) {
      progress.show({.subject = "looking at " + suite, .stage = std::string(line)});
      if (line.starts_with("using the old") || line.starts_with("going on without")) {
        progress.print(fmt::format("panicroom: {}\n", harness::escape_untrusted(line)));
      }
    });
    if (!found && found.error().kind() == ErrorKind::kInvalidInput && chosen) return std::move(found.error());
    if (!found) {
      if (found.error().kind() == ErrorKind::kHost) ++failures;
      progress.print(fmt::format("panicroom: {}: {}\n", suite, harness::escape_untrusted(found.error().message())));
      continue;
    }
    reached = reached || lists == kernels::Lists::kFresh;
    offers.insert(offers.end(), found->begin(), found->end());
  }
  if (!reached && failures > 0)
    progress.print("panicroom: the archive is out of reach: this is what is known already\n");
  return offers;
}

Result<> list(const std::vector<std::string>& suites, bool cached_only) {
  kernels::KernelStore store(TRY(kernels::default_cache_dir()));
  std::vector<Row> rows = {{"REFERENCE", "RELEASE", "PACKAGE", "CACHED"}};
  auto cached = store.cached();
  if (!cached_only) {
    const auto progress = harness::make_progress(std::cerr, harness::inspect_terminal(STDERR_FILENO));
    for (const auto& offer : TRY(offers_of(store, suites, *progress))) {
      const auto reference = fmt::format("debian:{}/{}", offer.suite, offer.flavour);
      const auto there = std::find_if(cached.begin(), cached.end(), [&](const auto& kernel) {
        return kernel.release == offer.release && kernel.package_version == offer.package_version;
      });
      if (there == cached.end()) {
        rows.push_back({reference, offer.release, offer.package_version, "-"});
      } else {
        rows.push_back(row_of(reference, *there));
      }
    }
    progress->clear();
  }
  // What no suite has as its newest, or was not asked for.
  for (const auto& kernel : cached) {
    const auto shown = [&](const Row& row) { return row.back() == kernel.image.native(); };
    if (std::none_of(rows.begin(), rows.end(), shown)) rows.push_back(row_of(reference_of(kernel), kernel));
  }
  if (rows.size() == 1) {
    fmt::print("no kernels {}; panicroom kernels fetch gets the default one\n",
               cached_only ? "are cached" : "are offered nor cached");
    return {};
  }
  print_table(rows);
  return {};
}

}  // namespace

int kernels_list(const std::vector<std::string>& suites, bool cached_only) {
  const auto done = list(suites, cached_only);
  return done ? kSuccess : fail(done.error());
}

}  // namespace panicroom::cli
