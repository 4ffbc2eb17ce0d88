// `panicroom kernels inspect`: what is known of a kernel, what of it matters to kdump, and where its points lie.
#include <fmt/core.h>
#include <unistd.h>

#include <iostream>
#include <utility>

#include "base/file.h"
#include "harness/cli/commands.h"
#include "harness/report/progress.h"
#include "harness/report/untrusted_text.h"
#include "kernels/config/config_facts.h"
#include "kernels/image/kernel_image.h"
#include "kernels/packages/kernel_store.h"
#include "kernels/points/named_points.h"
#include "kernels/points/resolver.h"

namespace panicroom::cli {
namespace {

void print_fact(std::string_view name, std::string_view value) {
  fmt::print("{:<14}{}\n", name, harness::escape_untrusted(value));
}

// What stands behind the numbers of a release, by which distributions tell their kernels of one version apart:
// "cloud-amd64" of 6.1.0-56-cloud-amd64, "generic" of 6.8.0-31-generic. "-" if nothing does.
std::string flavour_of(std::string_view release) {
  std::size_t begin = release.size();
  while (begin > 0) {
    const auto dash = release.rfind('-', begin - 1);
    const auto part = dash == std::string_view::npos ? 0 : dash + 1;
    const auto word = release.substr(part, release.substr(part).find('-'));
    if (dash == std::string_view::npos || word.empty() || (word.front() >= '0' && word.front() <= '9')) break;
    begin = dash;
  }
  return begin == release.size() ? "-" : std::string(release.substr(begin + 1));
}

std::string place_of(const kernels::KernelImage& kernel, LinkAddress at) {
  const auto place = kernel.symbols().containing(at);
  return place ? fmt::format("{} {}+{:#x}", at, place->symbol.name, place->offset) : fmt::format("{} ?", at);
}

// The configuration's text and where it came from; nothing if there is none.
struct ConfigSource {
  std::string where;
  std::string text;
};
Result<std::optional<ConfigSource>> find_config(const kernels::StoredKernel& stored,
                                                const kernels::KernelImage& kernel) {
  if (!stored.config.empty()) {
    auto text = TRY(read_text_file(stored.config));
    return ConfigSource{stored.config.native(), std::move(text)};
  }
  // The image tells its release for sure; a file of that name beside it is its configuration.
  const auto beside = stored.image.parent_path() / ("config-" + kernel.release());
  std::error_code error;
  if (std::filesystem::is_regular_file(beside, error)) {
    auto text = TRY(read_text_file(beside));
    return ConfigSource{beside.native(), std::move(text)};
  }
  auto embedded = TRY(kernels::embedded_config(kernel.elf().file()));
  if (!embedded) return std::optional<ConfigSource>();
  return ConfigSource{"embedded in the image", std::move(*embedded)};
}

// Gives what no scenario can work without and the kernel lacks.
std::vector<std::string> print_config(const kernels::KernelConfig& config) {
  std::vector<std::string> lacking;
  for (const auto& fact : kernels::config_facts(config)) {
    const auto name = fmt::format("CONFIG_{}", fact.entry->option);
    const auto* mark = fact.met ? "" : fact.entry->need == kernels::Need::kRequired ? "NOT USABLE: " : "NOTE: ";
    const bool told = !fact.met || (fact.entry->need == kernels::Need::kNothing && fact.value != "n");
    auto line = fmt::format("  {:<46} {:<10}", name, harness::escape_untrusted(fact.value));
    if (told) line += fmt::format(" {}{}", mark, fact.entry->remark);
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
    if (!fact.met && fact.entry->need == kernels::Need::kRequired) {
      lacking.push_back(fmt::format("{} is not set: {}", name, fact.entry->remark));
    }
  }
  return lacking;
}

// The number of points that were not found.
int print_points(const kernels::KernelImage& kernel) {
  int missing = 0;
  for (const auto& entry : kernels::kNamedPoints) {
    const auto point = kernels::resolve_named_point(kernel, entry);
    if (!point) {
      ++missing;
      fmt::print("  {:<26} not found: {}\n", entry.name, harness::escape_untrusted(point.error().message()));
      continue;
    }
    for (const LinkAddress at : point->at) {
      fmt::print("  {:<26} {} ({})\n", entry.name, harness::escape_untrusted(place_of(kernel, at)),
                 harness::escape_untrusted(point->how));
    }
  }
  return missing;
}

void print_sites(const kernels::KernelImage& kernel) {
  const auto apic = kernels::local_apic(kernel);
  fmt::print("  {:<26} {}\n", "local APIC",
             apic ? fmt::format("{}", *apic) : "not found: " + harness::escape_untrusted(apic.error().message()));
  const auto stores = kernels::icr_stores(kernel);
  if (!stores) {
    fmt::print("  {:<26} not found: {}\n", "ICR store", harness::escape_untrusted(stores.error().message()));
  } else {
    for (const auto& store : *stores) {
      fmt::print("  {:<26} {}, value in {}\n", "ICR store", harness::escape_untrusted(place_of(kernel, store.at)),
                 hypervisor::name(store.value));
    }
  }
  const auto loop = kernels::pause_loop(kernel);
  fmt::print("  {:<26} {}\n", "pause loop",
             harness::escape_untrusted(loop ? place_of(kernel, *loop) : "not found: " + loop.error().message()));
}

Result<> inspect(const std::string& reference) {
  const auto progress = harness::make_progress(std::cerr, harness::inspect_terminal(STDERR_FILENO));
  const auto ref = TRY(kernels::KernelRef::parse(reference));
  kernels::KernelStore store(TRY(kernels::default_cache_dir()));
  const auto subject = fmt::format("kernel {}", ref.text());
  const auto stored = TRY(store.ensure(
      ref, [&](std::string_view line) { progress->show({.subject = subject, .stage = std::string(line)}); }));
  progress->show({.subject = fmt::format("reading {}", stored.image.native())});
  const auto kernel = TRY(kernels::KernelImage::load(stored.image));
  const auto source = TRY(find_config(stored, kernel));
  std::optional<kernels::KernelConfig> config;
  if (source) config = TRY_CONTEXT(source->where, kernels::KernelConfig::parse(source->text));
  progress->clear();

  print_fact("release", kernel.release());
  print_fact("flavour", flavour_of(kernel.release()));
  print_fact("package", stored.package_version.empty() ? "not of Debian's archive" : stored.package_version);
  print_fact("banner", kernel.banner());
  print_fact("image", stored.image.native());
  print_fact("modules", stored.modules.empty() ? "none" : stored.modules.native());
  print_fact("compression", kernels::compression_name(kernel.compression()));
  print_fact("symbols",
             fmt::format("{} ({})", kernel.symbols().size(), kernels::kallsyms_layout_name(kernel.kallsyms_layout())));
  print_fact("BTF", kernel.elf().btf() ? "yes" : "no");
  print_fact("configuration", source ? source->where : "none beside the image nor in it");
  std::vector<std::string> lacking;
  if (config) lacking = print_config(*config);
  fmt::print("points\n");
  const int missing = print_points(kernel);
  print_sites(kernel);
  if (missing != 0) fmt::print("{} points are not found: scenarios that name them are skipped\n", missing);
  for (const auto& what : lacking) fmt::print("not usable: {}\n", what);
  return {};
}

}  // namespace

int kernels_inspect(const std::string& reference) {
  const auto done = inspect(reference);
  return done ? kSuccess : fail(done.error());
}

}  // namespace panicroom::cli
