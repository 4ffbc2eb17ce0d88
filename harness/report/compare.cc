#include "harness/report/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "harness/report/kernel_match.h"
#include "harness/report/tally.h"
#include "harness/report/untrusted_text.h"
#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

using Scenarios = std::map<std::string, RunGroup>;

// A report's kernels, and the scenarios that were run on each.
struct Kernels {
  std::vector<KernelIdentity> identities;
  std::vector<Scenarios> scenarios;
};

KernelIdentity identity_of(const v1::Run& run) {
  const bool own = run.capture_kernel_release() == run.kernel_release();
  return {.release = run.kernel_release(),
          .reference = run.kernel_reference(),
          .capture = own ? "" : run.capture_kernel_release(),
          .engine = run.engine()};
}

Kernels kernels_of(const v1::Report& report) {
  Kernels kernels;
  std::map<KernelIdentity, std::size_t> indices;
  for (const auto& run : report.runs()) {
    auto identity = identity_of(run);
    const auto [found, added] = indices.try_emplace(identity, kernels.identities.size());
    if (added) {
      kernels.identities.push_back(std::move(identity));
      kernels.scenarios.emplace_back();
    }
    kernels.scenarios[found->second][run.scenario()].push_back(&run);
  }
  return kernels;
}

std::string describe(const RunGroup& trials) {
  const auto verdict = worst_verdict(trials);
  std::string text = verdict_label(verdict, false);
  if (verdict == v1::VERDICT_SKIP) return text;
  const auto counts = outcome_counts(trials);
  if (trials.size() == 1) {
    return verdict == v1::VERDICT_ERROR ? text : fmt::format("{} {}", text, counts.front().first);
  }
  text += fmt::format(" {}/{} {}", counts.front().second, trials.size(), counts.front().first);
  for (std::size_t i = 1; i < counts.size(); ++i) text += fmt::format(", {} {}", counts[i].second, counts[i].first);
  return text;
}

Tally tally_of(const RunGroup& trials) {
  Tally counts;
  for (const auto* run : trials) counts.add(*run);
  return counts;
}

// The same outcomes in the same proportions.
bool same_outcomes(const RunGroup& before, const RunGroup& after) {
  const auto by_word = [](const RunGroup& trials) {
    const auto counts = outcome_counts(trials);
    return std::map<std::string, std::size_t>(counts.begin(), counts.end());
  };
  const auto left = by_word(before);
  const auto right = by_word(after);
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [&](const auto& a, const auto& b) {
    return a.first == b.first && a.second * after.size() == b.second * before.size();
  });
}

// Nothing if nothing changed.
std::optional<ChangeKind> change_of(const RunGroup& before, const RunGroup& after) {
  const auto old_counts = tally_of(before);
  const auto new_counts = tally_of(after);
  const auto decided = [](const Tally& counts) { return counts.total() - counts.skipped; };
  const auto old_share = old_counts.passed * decided(new_counts);  // Of a common denominator.
  const auto new_share = new_counts.passed * decided(old_counts);
  if (decided(old_counts) > 0 && decided(new_counts) > 0 && old_share != new_share) {
    return new_share < old_share ? ChangeKind::kRegression : ChangeKind::kImproved;
  }
  if (worst_verdict(before) != worst_verdict(after) || !same_outcomes(before, after)) return ChangeKind::kChanged;
  return std::nullopt;
}

class Comparer {
 public:
  Comparison compare(const Kernels& before, const Kernels& after);

 private:
  void compare_scenarios(const Scenarios& before, const Scenarios& after);
  void add(ChangeKind kind, const std::string& scenario, const RunGroup* before, const RunGroup* after);

  Comparison comparison_;
};

void Comparer::add(ChangeKind kind, const std::string& scenario, const RunGroup* before, const RunGroup* after) {
  Change change;
  change.kind = kind;
  change.scenario = scenario;
  if (before != nullptr) {
    change.platform = platform(*before->front());
    change.before = describe(*before);
  }
  if (after != nullptr) {
    change.was_platform = std::exchange(change.platform, platform(*after->front()));
    change.after = describe(*after);
    if (change.was_platform == change.platform) change.was_platform.clear();
  }
  comparison_.changes.push_back(std::move(change));
}

void Comparer::compare_scenarios(const Scenarios& before, const Scenarios& after) {
  for (const auto& [name, trials] : after) {
    const auto found = before.find(name);
    if (found == before.end()) {
      add(ChangeKind::kNew, name, nullptr, &trials);
    } else if (const auto kind = change_of(found->second, trials)) {
      add(*kind, name, &found->second, &trials);
    } else {
      ++comparison_.unchanged;
    }
  }
  for (const auto& [name, trials] : before) {
    if (!after.contains(name)) add(ChangeKind::kGone, name, &trials, nullptr);
  }
}

Comparison Comparer::compare(const Kernels& before, const Kernels& after) {
  const auto matches = match_kernels(before.identities, after.identities);
  std::vector<bool> matched(before.identities.size(), false);
  const Scenarios nothing;
  for (std::size_t i = 0; i < after.identities.size(); ++i) {
    if (matches[i]) matched[*matches[i]] = true;
    compare_scenarios(matches[i] ? before.scenarios[*matches[i]] : nothing, after.scenarios[i]);
  }
  for (std::size_t i = 0; i < before.identities.size(); ++i) {
    if (!matched[i]) compare_scenarios(before.scenarios[i], nothing);
  }
  std::sort(comparison_.changes.begin(), comparison_.changes.end(), [](const Change& a, const Change& b) {
    return std::tie(a.kind, a.scenario, a.platform, a.was_platform) <
           std::tie(b.kind, b.scenario, b.platform, b.was_platform);
  });
  return std::move(comparison_);
}

std::string_view word(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kRegression:
      return "REGRESSION";
    case ChangeKind::kImproved:
      return "improved";
    case ChangeKind::kChanged:
      return "changed";
    case ChangeKind::kNew:
      return "new";
    case ChangeKind::kGone:
      return "gone";
  }
  return "?";
}

}  // namespace

std::size_t Comparison::count(ChangeKind kind) const {
  return static_cast<std::size_t>(
      std::count_if(changes.begin(), changes.end(), [&](const Change& change) { return change.kind == kind; }));
}

Comparison compare(const v1::Report& before, const v1::Report& after) {
  return Comparer().compare(kernels_of(before), kernels_of(after));
}

std::string render(const Comparison& comparison) {
  std::string text;
  for (const auto& change : comparison.changes) {
    const auto arrow = change.before.empty() || change.after.empty() ? "" : " -> ";
    const auto was = change.was_platform.empty() ? "" : fmt::format(" (was {})", change.was_platform);
    text += fmt::format("{:<10}  {} on {}{}: {}{}{}\n", word(change.kind), escape_untrusted(change.scenario),
                        change.platform, was, change.before, arrow, change.after);
  }
  const auto regressions = comparison.count(ChangeKind::kRegression);
  return text + fmt::format("{} regression{}, {} improved, {} changed, {} new, {} gone, {} unchanged\n", regressions,
                            regressions == 1 ? "" : "s", comparison.count(ChangeKind::kImproved),
                            comparison.count(ChangeKind::kChanged), comparison.count(ChangeKind::kNew),
                            comparison.count(ChangeKind::kGone), comparison.unchanged);
}

}  // namespace panicroom::harness
