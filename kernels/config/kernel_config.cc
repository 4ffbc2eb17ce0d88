#include "kernels/config/kernel_config.h"

#include <algorithm>
#include <utility>

#include "kernels/image/decompress.h"

namespace panicroom::kernels {
namespace {

constexpr std::string_view kPrefix = "CONFIG_";
constexpr std::size_t kMaxText = std::size_t{4} << 20;  // Distributions' are 0.3 MB.

bool is_option_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '\t' || (c >= ' ' && c <= '~'); });
}

std::string_view unquoted(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') return value.substr(1, value.size() - 2);
  return value;
}

}  // namespace

Result<KernelConfig> KernelConfig::parse(std::string_view text) {
  if (text.size() > kMaxText) return invalid_input("a kernel configuration of more than {} bytes", kMaxText);
  KernelConfig config;
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    const auto equals = line.find('=');
    const auto name = line.substr(0, equals);
    const bool is_option = equals != std::string_view::npos && name.starts_with(kPrefix) &&
                           name.size() > kPrefix.size() && std::all_of(name.begin(), name.end(), is_option_character);
    if (!is_option || !is_printable(line)) return invalid_input("line {} is not CONFIG_NAME=VALUE", number);
    // As in kconfig, the last of several wins.
    config.values_.insert_or_assign(std::string(name.substr(kPrefix.size())),
                                    std::string(unquoted(line.substr(equals + 1))));
  }
  if (config.values_.empty()) return invalid_input("it sets no option");
  return config;
}

std::optional<std::string_view> KernelConfig::value(std::string_view name) const {
  const auto it = values_.find(name);
  if (it == values_.end() || it->second == "n") return std::nullopt;
  return it->second;
}

bool KernelConfig::enabled(std::string_view name) const {
  const auto found = value(name);
  return found == "y" || found == "m";
}

Result<std::optional<std::string>> embedded_config(Bytes elf) {
  constexpr std::string_view kBegin = "IKCFG_ST";
  constexpr std::string_view kGzip = "\x1f\x8b\x08";
  const auto text = as_text(elf);
  // The marker may also stand in text that speaks of it.
  for (auto at = text.find(kBegin); at != std::string_view::npos; at = text.find(kBegin, at + 1)) {
    const auto payload = elf.subspan(at + kBegin.size());
    if (!as_text(payload).starts_with(kGzip)) continue;
    const auto unpacked = TRY_CONTEXT("the configuration in the image", decompress(payload, kMaxText));
    return std::optional(std::string(as_text(unpacked)));
  }
  return std::optional<std::string>();
}

}  // namespace panicroom::kernels
