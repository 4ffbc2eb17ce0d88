#include "harness/observer/register_check.h"

#include <fmt/format.h>

#include <algorithm>

namespace panicroom::harness {
namespace {

using vmcore::kRegisterCount;
using vmcore::Register;

constexpr std::array<std::string_view, kRegisterCount> kNames = {
    "r15", "r14",      "r13", "r12", "rbp",    "rbx", "r11", "r10",     "r9",      "r8", "rax", "rcx", "rdx", "rsi",
    "rdi", "orig_rax", "rip", "cs",  "rflags", "rsp", "ss",  "fs_base", "gs_base", "ds", "es",  "fs",  "gs"};

constexpr std::size_t at(Register name) { return static_cast<std::size_t>(name); }

// RIP and RSP in any case, and what differs from `other`.
std::string describe(const PrstatusRegisters& registers, const PrstatusRegisters& other) {
  std::string text = fmt::format("rip {:#x} rsp {:#x}", registers[at(Register::kRip)], registers[at(Register::kRsp)]);
  for (std::size_t i = 0; i < kRegisterCount; ++i) {
    if (registers[i] == other[i] || i == at(Register::kRip) || i == at(Register::kRsp)) continue;
    text += fmt::format(" {} {:#x}", kNames[i], registers[i]);
  }
  return text;
}

// The registers of the vCPU, in a note's order; those that a note has and Registers has not are taken from `rest`.
PrstatusRegisters as_note(const hypervisor::Registers& from, const PrstatusRegisters& rest) {
  PrstatusRegisters note = rest;
  const auto put = [&note](Register name, std::uint64_t value) { note[at(name)] = value; };
  put(Register::kR15, from.r15);
  put(Register::kR14, from.r14);
  put(Register::kR13, from.r13);
  put(Register::kR12, from.r12);
  put(Register::kRbp, from.rbp);
  put(Register::kRbx, from.rbx);
  put(Register::kR11, from.r11);
  put(Register::kR10, from.r10);
  put(Register::kR9, from.r9);
  put(Register::kR8, from.r8);
  put(Register::kRax, from.rax);
  put(Register::kRcx, from.rcx);
  put(Register::kRdx, from.rdx);
  put(Register::kRsi, from.rsi);
  put(Register::kRdi, from.rdi);
  put(Register::kRip, from.rip);
  put(Register::kCs, from.cs);
  put(Register::kRflags, from.rflags);
  put(Register::kRsp, from.rsp);
  put(Register::kSs, from.ss);
  return note;
}

// What the note must be by what the vCPU itself had when it was stopped, given what the kernel was about to save.
PrstatusRegisters by_the_stop(const CpuTruth& cpu) {
  const PrstatusRegisters& saved = *cpu.saved;
  if (!cpu.stopped_at) return saved;
  PrstatusRegisters note = as_note(*cpu.stopped_at, saved);
  if (cpu.by_own_code) {
    note[at(Register::kRax)] = saved[at(Register::kRax)];
    const Gva rip{saved[at(Register::kRip)]};
    if (cpu.by_own_code->begin <= rip && rip < cpu.by_own_code->end) note[at(Register::kRip)] = rip.value;
  }
  return note;
}

// Which note is which CPU's. Where no note is missing, the kernel writes them in the order of CPU numbers; where one
// is, the number is lost, and only the registers tell.
std::map<VcpuId, PrstatusRegisters> assign(const std::vector<agent::v1::Prstatus>& notes, const CrashTruth& truth) {
  std::map<VcpuId, PrstatusRegisters> result;
  if (notes.size() == truth.vcpus) {
    for (std::uint32_t cpu = 0; cpu < truth.vcpus; ++cpu) {
      if (has_registers(notes[cpu])) result[VcpuId{cpu}] = registers_of(notes[cpu]);
    }
    return result;
  }
  std::vector<PrstatusRegisters> left;
  for (const auto& note : notes) {
    if (has_registers(note)) left.push_back(registers_of(note));
  }
  for (const auto& [cpu, known] : truth.cpus) {
    const auto match = known.saved ? std::ranges::find(left, *known.saved) : left.end();
    if (match == left.end()) continue;
    result[cpu] = *match;
    left.erase(match);
  }
  // A note that fits nobody is somebody's who saved registers, with registers that are not true.
  for (const auto& [cpu, known] : truth.cpus) {
    if (left.empty()) break;
    if (!known.saved || result.contains(cpu)) continue;
    result[cpu] = left.front();
    left.erase(left.begin());
  }
  return result;
}

const Moment* moment_of(const PrstatusRegisters& note, const CpuTruth& cpu) {
  const auto found =
      std::ranges::find_if(cpu.earlier, [&](const Moment& moment) { return as_note(moment.registers, note) == note; });
  return found == cpu.earlier.end() ? nullptr : &*found;
}

RegisterFinding judge(VcpuId number, const PrstatusRegisters* note, const CpuTruth& cpu) {
  RegisterFinding finding{.cpu = number, .state = RegisterState::kTrue, .expected = {}, .actual = {}, .trouble = {}};
  const auto because = [&](RegisterState state, std::string trouble) {
    finding.state = state;
    finding.trouble = std::move(trouble);
  };
  const PrstatusRegisters none{};
  if (!cpu.saved) {
    finding.expected = "a CPU that was not stopped before the jump has saved none";
    finding.actual = note != nullptr ? describe(*note, none) : "missing";
    if (note == nullptr) {
      because(RegisterState::kMissing,
              fmt::format("CPU {} has no registers in the dump: it was not stopped before the jump", number));
    } else {
      because(RegisterState::kUntrue,
              fmt::format("CPU {} has registers in the dump, but was never seen to be stopped", number));
    }
    return finding;
  }
  const PrstatusRegisters expected = by_the_stop(cpu);
  const std::string by = cpu.stopped_by.empty() ? "" : fmt::format(" (stopped by {})", cpu.stopped_by);
  if (note == nullptr) {
    finding.expected = describe(expected, expected) + by;
    finding.actual = "missing";
    because(RegisterState::kMissing, fmt::format("CPU {} has no registers in the dump", number));
    return finding;
  }
  finding.expected = describe(expected, *note) + by;
  finding.actual = "true: " + describe(*note, expected);
  if (*note == expected) return finding;
  if (const Moment* moment = moment_of(*note, cpu)) {
    finding.actual = fmt::format("stale, those at \"{}\": {}", moment->what, describe(*note, expected));
    because(RegisterState::kStale,
            fmt::format("the registers of CPU {} are stale: those at \"{}\"", number, moment->what));
    return finding;
  }
  finding.actual = "untrue: " + describe(*note, expected);
  because(
      RegisterState::kUntrue,
      *note == *cpu.saved
          ? fmt::format("the registers of CPU {} are not true: the kernel saved others than those at its stop", number)
          : fmt::format("the registers of CPU {} are not true", number));
  return finding;
}

}  // namespace

std::string_view name(RegisterState state) {
  switch (state) {
    case RegisterState::kTrue:
      return "true";
    case RegisterState::kStale:
      return "stale";
    case RegisterState::kUntrue:
      return "untrue";
    case RegisterState::kMissing:
      return "missing";
  }
  return "unknown";
}

PrstatusRegisters registers_of(const agent::v1::Prstatus& note) {
  const auto& from = note.registers();
  return {from.r15(),     from.r14(),      from.r13(), from.r12(), from.rbp(),    from.rbx(), from.r11(),
          from.r10(),     from.r9(),       from.r8(),  from.rax(), from.rcx(),    from.rdx(), from.rsi(),
          from.rdi(),     from.orig_rax(), from.rip(), from.cs(),  from.rflags(), from.rsp(), from.ss(),
          from.fs_base(), from.gs_base(),  from.ds(),  from.es(),  from.fs(),     from.gs()};
}

bool has_registers(const agent::v1::Prstatus& note) {
  return std::ranges::any_of(registers_of(note), [](std::uint64_t value) { return value != 0; });
}

std::vector<RegisterFinding> check_registers(const std::vector<agent::v1::Prstatus>& notes, const CrashTruth& truth) {
  const auto assigned = assign(notes, truth);
  std::vector<RegisterFinding> findings;
  for (std::uint32_t number = 0; number < truth.vcpus; ++number) {
    const VcpuId cpu{number};
    const auto note = assigned.find(cpu);
    const auto known = truth.cpus.find(cpu);
    findings.push_back(judge(cpu, note == assigned.end() ? nullptr : &note->second,
                             known == truth.cpus.end() ? CpuTruth{} : known->second));
  }
  return findings;
}

}  // namespace panicroom::harness
