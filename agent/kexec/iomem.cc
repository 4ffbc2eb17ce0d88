#include "agent/kexec/iomem.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

namespace panicroom::kexec {
namespace {

struct Entry {
  PhysicalRange range;
  std::string_view name;
};

std::optional<std::uint64_t> take_hexadecimal(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// "  00100000-1ffdffff : System RAM"; what lies in another is indented.
std::optional<Entry> parse_line(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const auto begin = take_hexadecimal(line);
  if (!begin || !take(line, "-")) return std::nullopt;
  const auto last = take_hexadecimal(line);
  if (!last || *last < *begin || *last == std::numeric_limits<std::uint64_t>::max() || !take(line, " : ")) {
    return std::nullopt;
  }
  return Entry{{{*begin}, {*last + 1}}, line};
}

std::vector<PhysicalRange>* list_for(PhysicalMap& map, std::string_view name) {
  if (name == "System RAM") return &map.ram;
  if (name == "Crash kernel") return &map.crash_memory;
  if (name == "ACPI Tables") return &map.acpi_tables;
  if (name == "ACPI Non-volatile Storage") return &map.acpi_storage;
  if (name == "Reserved" || name == "reserved") return &map.reserved;
  return nullptr;
}

}  // namespace

Result<PhysicalMap> parse_iomem(std::string_view text) {
  PhysicalMap map;
  std::size_t ranges = 0;
  for (int number = 1; !text.empty(); ++number) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) continue;
    const auto entry = parse_line(line);
    if (!entry) return invalid_input("/proc/iomem: line {} is no range with a name", number);
    auto* list = list_for(map, entry->name);
    if (list == nullptr) continue;
    if (++ranges > kMaxPhysicalRanges) return invalid_input("/proc/iomem: more than {} ranges", kMaxPhysicalRanges);
    list->push_back(entry->range);
  }
  // All of it is said to be 0-0 then.
  if (map.ram.empty() || map.ram.back().end.value <= 1) return invalid_input("/proc/iomem tells of no memory");
  const auto lower = [](const PhysicalRange& a, const PhysicalRange& b) { return a.begin < b.begin; };
  for (auto* list : {&map.ram, &map.crash_memory, &map.acpi_tables, &map.acpi_storage, &map.reserved}) {
    std::sort(list->begin(), list->end(), lower);
  }
  return map;
}

std::vector<PhysicalRange> without(const std::vector<PhysicalRange>& ranges, const PhysicalRange& hole) {
  std::vector<PhysicalRange> left;
  for (const auto& range : ranges) {
    const PhysicalRange below{range.begin, std::min(range.end, hole.begin)};
    const PhysicalRange above{std::max(range.begin, hole.end), range.end};
    if (hole.end <= hole.begin) {
      left.push_back(range);
      continue;
    }
    if (below.begin < below.end) left.push_back(below);
    if (above.begin < above.end) left.push_back(above);
  }
  return left;
}

std::vector<PhysicalRange> within(const std::vector<PhysicalRange>& ranges, const PhysicalRange& window) {
  std::vector<PhysicalRange> inside;
  for (const auto& range : ranges) {
    const PhysicalRange common{std::max(range.begin, window.begin), std::min(range.end, window.end)};
    if (common.begin < common.end) inside.push_back(common);
  }
  return inside;
}

}  // namespace panicroom::kexec
