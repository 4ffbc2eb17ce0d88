#include "harness/report/kernel_match.h"

#include <algorithm>
#include <array>
#include <map>

namespace panicroom::harness {
namespace {

constexpr std::string_view kDebian = "debian:";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// What a rule compares; nothing if the rule says nothing about this kernel.
using Key = std::optional<std::vector<std::string>>;
using Rule = Key (*)(const KernelIdentity&);

std::string own_or_other(const KernelIdentity& kernel) { return kernel.capture.empty() ? "own" : "other"; }

Key by_suite(const KernelIdentity& kernel) {
  if (!kernel.reference.starts_with(kDebian) || kernel.reference.find('/') == std::string::npos) return std::nullopt;
  return std::vector<std::string>{kernel.reference};
}

Key by_series(const KernelIdentity& kernel) {
  auto flavour = flavour_of(kernel.release);
  auto series = series_of(kernel.release);
  if (flavour.empty() || series.empty()) return std::nullopt;
  return std::vector<std::string>{std::move(flavour), std::move(series)};
}

Key by_flavour(const KernelIdentity& kernel) {
  auto flavour = flavour_of(kernel.release);
  if (flavour.empty()) return std::nullopt;
  return std::vector<std::string>{std::move(flavour)};
}

using Candidates = std::map<std::vector<std::string>, std::vector<std::size_t>>;

template <typename IsFree>
Candidates candidates(const std::vector<KernelIdentity>& kernels, Rule rule, IsFree is_free) {
  Candidates found;
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    if (!is_free(i)) continue;
    auto key = rule(kernels[i]);
    if (!key) continue;
    key->push_back(kernels[i].engine);
    key->push_back(own_or_other(kernels[i]));
    found[*std::move(key)].push_back(i);
  }
  return found;
}

}  // namespace

std::string flavour_of(std::string_view release) {
  if (release.starts_with(kDebian)) {
    const auto slash = release.find('/');
    if (slash != std::string_view::npos) return std::string(release.substr(slash + 1));
    release.remove_prefix(kDebian.size());
  }
  if (release.empty() || !is_digit(release.front())) return {};
  // "-rc4" belongs to the version.
  for (auto dash = release.find('-'); dash != std::string_view::npos; dash = release.find('-', dash + 1)) {
    const auto rest = release.substr(dash + 1);
    if (rest.empty() || !is_letter(rest.front())) continue;
    if (rest.starts_with("rc") && rest.size() > 2 && is_digit(rest[2])) continue;
    return std::string(rest);
  }
  return {};
}

std::string series_of(std::string_view release) {
  const auto digits_from = [&](std::size_t at) {
    while (at < release.size() && is_digit(release[at])) ++at;
    return at;
  };
  const auto major = digits_from(0);
  if (major == 0 || major >= release.size() || release[major] != '.') return {};
  const auto minor = digits_from(major + 1);
  return minor == major + 1 ? std::string() : std::string(release.substr(0, minor));
}

std::vector<std::optional<std::size_t>> match_kernels(const std::vector<KernelIdentity>& before,
                                                      const std::vector<KernelIdentity>& after) {
  static constexpr std::array<Rule, 5> kRules = {
      [](const KernelIdentity& kernel) -> Key {
        return std::vector<std::string>{kernel.release, kernel.capture};
      },
      [](const KernelIdentity& kernel) -> Key { return std::vector<std::string>{kernel.release}; }, by_suite, by_series,
      by_flavour};
  std::vector<std::optional<std::size_t>> matches(after.size());
  std::vector<bool> used(before.size(), false);
  for (const Rule rule : kRules) {
    const auto old_ones = candidates(before, rule, [&](std::size_t i) { return !used[i]; });
    const auto new_ones = candidates(after, rule, [&](std::size_t i) { return !matches[i]; });
    for (const auto& [key, indices] : new_ones) {
      const auto found = old_ones.find(key);
      if (found == old_ones.end() || found->second.size() != 1 || indices.size() != 1) continue;
      matches[indices.front()] = found->second.front();
      used[found->second.front()] = true;
    }
  }
  return matches;
}

}  // namespace panicroom::harness
