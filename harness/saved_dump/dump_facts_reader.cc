#include "harness/saved_dump/dump_facts_reader.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace panicroom::harness {
namespace {

using nlohmann::json;

constexpr std::size_t kMostCpus = 8192;
constexpr std::size_t kMostText = 200;

using Setter = void (agent::v1::Registers::*)(std::uint64_t);
struct NamedRegister {
  const char* name;
  Setter set;
};
using Registers = agent::v1::Registers;
constexpr std::array kRegisters = {
    NamedRegister{"r15", &Registers::set_r15},         NamedRegister{"r14", &Registers::set_r14},
    NamedRegister{"r13", &Registers::set_r13},         NamedRegister{"r12", &Registers::set_r12},
    NamedRegister{"rbp", &Registers::set_rbp},         NamedRegister{"rbx", &Registers::set_rbx},
    NamedRegister{"r11", &Registers::set_r11},         NamedRegister{"r10", &Registers::set_r10},
    NamedRegister{"r9", &Registers::set_r9},           NamedRegister{"r8", &Registers::set_r8},
    NamedRegister{"rax", &Registers::set_rax},         NamedRegister{"rcx", &Registers::set_rcx},
    NamedRegister{"rdx", &Registers::set_rdx},         NamedRegister{"rsi", &Registers::set_rsi},
    NamedRegister{"rdi", &Registers::set_rdi},         NamedRegister{"orig_rax", &Registers::set_orig_rax},
    NamedRegister{"rip", &Registers::set_rip},         NamedRegister{"cs", &Registers::set_cs},
    NamedRegister{"rflags", &Registers::set_rflags},   NamedRegister{"rsp", &Registers::set_rsp},
    NamedRegister{"ss", &Registers::set_ss},           NamedRegister{"fs_base", &Registers::set_fs_base},
    NamedRegister{"gs_base", &Registers::set_gs_base}, NamedRegister{"ds", &Registers::set_ds},
    NamedRegister{"es", &Registers::set_es},           NamedRegister{"fs", &Registers::set_fs},
    NamedRegister{"gs", &Registers::set_gs},
};

Error not_facts(std::string_view what) { return invalid_input("panicroom_dump_facts: {}", what); }

Result<std::string> text_of(const json& facts, const char* key) {
  const auto found = facts.find(key);
  if (found == facts.end() || !found->is_string()) return not_facts(fmt::format("no {}", key));
  return found->get<std::string>().substr(0, kMostText);
}

// A CPU without registers is left out: the dump has no note of it.
Result<std::vector<agent::v1::Prstatus>> cpus_of(const json& facts) {
  const auto found = facts.find("cpus");
  if (found == facts.end() || !found->is_array() || found->size() > kMostCpus) return not_facts("no list of CPUs");
  std::vector<agent::v1::Prstatus> cpus;
  for (const auto& cpu : *found) {
    if (!cpu.is_object()) return not_facts("a CPU that is no object");
    agent::v1::Prstatus note;
    note.set_index(static_cast<std::uint32_t>(cpus.size()));
    bool any = false;
    for (const auto& [name, set] : kRegisters) {
      const auto value = cpu.find(name);
      if (value == cpu.end()) continue;
      if (!value->is_number_unsigned()) return not_facts(fmt::format("{} that is no number", name));
      (note.mutable_registers()->*set)(value->get<std::uint64_t>());
      any = true;
    }
    if (any) cpus.push_back(std::move(note));
  }
  return cpus;
}

}  // namespace

Result<DumpFacts> parse_dump_facts(std::string_view text, std::size_t pages) {
  const auto facts = json::parse(text, nullptr, false);
  if (!facts.is_object()) return not_facts("not a JSON object");
  DumpFacts result;
  result.format = TRY(text_of(facts, "format"));
  result.release = TRY(text_of(facts, "release"));
  result.cpus = TRY(cpus_of(facts));
  const auto found = facts.find("pages");
  if (found == facts.end() || !found->is_array() || found->size() != pages) return not_facts("other pages");
  for (const auto& page : *found) {
    if (page.is_null()) {
      result.pages.emplace_back();
      continue;
    }
    auto& sums = result.pages.emplace_back(std::in_place).value();
    if (!page.is_array()) return not_facts("a page that is no list");
    for (const auto& sum : page) {
      if (!sum.is_number_unsigned() || sum.get<std::uint64_t>() > UINT32_MAX) return not_facts("no checksum");
      sums.push_back(sum.get<std::uint32_t>());
    }
  }
  return result;
}

}  // namespace panicroom::harness
