#include "agent/vmcore/vmcoreinfo.h"

#include <algorithm>
#include <charconv>

namespace panicroom::vmcore {
namespace {

template <typename T>
std::optional<T> parse(std::optional<std::string_view> text, int base) {
  if (!text) return std::nullopt;
  T value{};
  const char* end = text->data() + text->size();
  const auto [stopped, error] = std::from_chars(text->data(), end, value, base);
  if (error != std::errc{} || stopped != end || text->empty()) return std::nullopt;
  return value;
}

std::string key_of(std::string_view kind, std::string_view name) {
  std::string key(kind);
  key.append("(").append(name).append(")");
  return key;
}

}  // namespace

Vmcoreinfo::Vmcoreinfo(std::string_view text) {
  text = text.substr(0, kMaxVmcoreinfoBytes);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos || equals == 0) continue;
    values_.insert_or_assign(std::string(line.substr(0, equals)), std::string(line.substr(equals + 1)));
  }
}

std::optional<std::string_view> Vmcoreinfo::value(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

std::optional<Gva> Vmcoreinfo::symbol(std::string_view name) const {
  const auto address = parse<std::uint64_t>(value(key_of("SYMBOL", name)), 16);
  if (!address) return std::nullopt;
  return Gva{*address};
}
std::optional<std::uint64_t> Vmcoreinfo::offset(std::string_view name) const {
  return parse<std::uint64_t>(value(key_of("OFFSET", name)), 10);
}
std::optional<std::uint64_t> Vmcoreinfo::size(std::string_view name) const {
  return parse<std::uint64_t>(value(key_of("SIZE", name)), 10);
}
std::optional<std::uint64_t> Vmcoreinfo::length(std::string_view name) const {
  return parse<std::uint64_t>(value(key_of("LENGTH", name)), 10);
}
std::optional<std::int64_t> Vmcoreinfo::number(std::string_view name) const {
  return parse<std::int64_t>(value(key_of("NUMBER", name)), 10);
}
std::optional<KaslrSlide> Vmcoreinfo::kernel_offset() const {
  const auto bytes = parse<std::uint64_t>(value("KERNELOFFSET"), 16);
  if (!bytes) return std::nullopt;
  return KaslrSlide{*bytes};
}

std::optional<std::string> find_vmcoreinfo(const std::vector<Note>& notes) {
  const auto note = std::ranges::find(notes, "VMCOREINFO", &Note::name);
  if (note == notes.end()) return std::nullopt;
  std::string_view text = as_text(note->content).substr(0, kMaxVmcoreinfoBytes);
  return std::string(text.substr(0, text.find('\0')));
}

}  // namespace panicroom::vmcore
