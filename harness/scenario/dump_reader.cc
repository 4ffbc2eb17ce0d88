#include "harness/scenario/dump_reader.h"

#include <array>

#include "harness/scenario/fields.h"

namespace panicroom::harness {
namespace {

constexpr std::uint32_t kHighestLevel = 31;

}  // namespace

std::optional<SaveDump> read_dump(const YamlNode& node, std::optional<Outcome> outcome, Diagnostics& diagnostics) {
  constexpr std::array<std::string_view, 2> kKeys = {"save", "level"};
  const Fields fields(node, "dump", kKeys, diagnostics);
  SaveDump save;
  const YamlNode* level = fields.find("level");
  if (level != nullptr) {
    const auto value = read_whole_number(*level, "level", 0, kHighestLevel, diagnostics);
    save.level = static_cast<std::uint32_t>(value.value_or(save.level));
  }
  const YamlNode* wanted = fields.require("save");
  if (wanted == nullptr || !read_bool(*wanted, "save", diagnostics).value_or(false)) {
    if (wanted != nullptr && level != nullptr) diagnostics.add(level->at, "'level' of a dump that is not saved");
    return std::nullopt;
  }
  if (outcome && !has_dump(*outcome)) {
    diagnostics.add(wanted->at, "'save': the outcome {} that is expected has no dump", name(*outcome));
    return std::nullopt;
  }
  return save;
}

}  // namespace panicroom::harness
