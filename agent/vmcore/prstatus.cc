#include "agent/vmcore/prstatus.h"

#include <elf.h>
#include <sys/procfs.h>
#include <sys/user.h>

#include <algorithm>
#include <cstddef>

namespace panicroom::vmcore {
namespace {

// glibc's struct elf_prstatus is the kernel's. pr_pid at 32, pr_reg at 112, 336 bytes in all.
constexpr std::size_t kPidOffset = offsetof(elf_prstatus, pr_pid);
constexpr std::size_t kRegistersOffset = offsetof(elf_prstatus, pr_reg);
static_assert(kPidOffset == 32 && kRegistersOffset == 112 && sizeof(elf_prstatus) == 336);
static_assert(sizeof(user_regs_struct) == kRegisterCount * sizeof(std::uint64_t));
static_assert(offsetof(user_regs_struct, rip) == static_cast<std::size_t>(Register::kRip) * sizeof(std::uint64_t));
static_assert(offsetof(user_regs_struct, gs) == static_cast<std::size_t>(Register::kGs) * sizeof(std::uint64_t));

bool is_prstatus(const Note& note) { return note.type == NT_PRSTATUS && note.name == "CORE"; }

}  // namespace

bool Prstatus::has_registers() const {
  return std::ranges::any_of(registers, [](std::uint64_t value) { return value != 0; });
}

std::optional<Prstatus> parse_prstatus(const Note& note) {
  if (!is_prstatus(note) || note.content.size() < sizeof(elf_prstatus)) return std::nullopt;
  const Bytes content(note.content);
  Prstatus status;
  status.pid = *load<std::int32_t>(content, kPidOffset);
  for (std::size_t i = 0; i < kRegisterCount; ++i) {
    status.registers[i] = *load<std::uint64_t>(content, kRegistersOffset + i * sizeof(std::uint64_t));
  }
  return status;
}

std::vector<Prstatus> find_prstatus(const std::vector<Note>& notes, std::size_t& malformed) {
  std::vector<Prstatus> found;
  for (const Note& note : notes) {
    if (!is_prstatus(note)) continue;
    if (const auto status = parse_prstatus(note)) {
      found.push_back(*status);
    } else {
      ++malformed;
    }
  }
  return found;
}

}  // namespace panicroom::vmcore
