// The NT_PRSTATUS notes of a vmcore: each CPU's registers as the dying kernel saved them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "agent/vmcore/elf_core.h"

namespace panicroom::vmcore {

// struct user_regs_struct of x86-64 (arch/x86/include/asm/user_64.h): names of the places in Prstatus::registers.
enum class Register : std::size_t {
  kR15,
  kR14,
  kR13,
  kR12,
  kRbp,
  kRbx,
  kR11,
  kR10,
  kR9,
  kR8,
  kRax,
  kRcx,
  kRdx,
  kRsi,
  kRdi,
  kOrigRax,
  kRip,
  kCs,
  kRflags,
  kRsp,
  kSs,
  kFsBase,
  kGsBase,
  kDs,
  kEs,
  kFs,
  kGs,
};
inline constexpr std::size_t kRegisterCount = 27;

struct Prstatus {
  std::int32_t pid = 0;  // The task that ran on the CPU; 0 for an idle task.
  std::array<std::uint64_t, kRegisterCount> registers{};

  [[nodiscard]] std::uint64_t operator[](Register name) const { return registers[static_cast<std::size_t>(name)]; }
  // Whether anything was saved: a CPU cannot have stopped at RIP 0 with RSP 0 and everything else 0 too.
  [[nodiscard]] bool has_registers() const;
};

// Nothing if the note is no NT_PRSTATUS of "CORE", or too short to be x86-64's struct elf_prstatus
// (include/linux/elfcore.h).
std::optional<Prstatus> parse_prstatus(const Note& note);

// All of them, in the order of the notes. `malformed` counts NT_PRSTATUS notes of "CORE" that are too short.
std::vector<Prstatus> find_prstatus(const std::vector<Note>& notes, std::size_t& malformed);

}  // namespace panicroom::vmcore
