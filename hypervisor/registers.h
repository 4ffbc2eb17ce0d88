// The registers of one x86-64 vCPU that panicroom reads and writes, the same for every engine. Leaves out the FPU, SSE
// and debug registers and the hidden parts of the segment registers: nothing here needs them, and an engine must leave
// them alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace panicroom::hypervisor {

// A plain value: a copy of what the vCPU held at a stop, not a view of it. Every field is widened to 64 bits; selectors
// use the low 16, RFLAGS the low 32.
struct Registers {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rbp = 0, rsp = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::uint64_t rip = 0, rflags = 0;
  std::uint64_t cs = 0, ss = 0, ds = 0, es = 0, fs = 0, gs = 0;
  std::uint64_t fs_base = 0, gs_base = 0, kernel_gs_base = 0;
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0, efer = 0;

  friend bool operator==(const Registers&, const Registers&) = default;
};

// Bits of RFLAGS: Intel SDM Vol. 1, 3.4.3 "EFLAGS Register", figure 3-8.
inline constexpr std::uint64_t kRflagsCf = 1U << 0;
inline constexpr std::uint64_t kRflagsFixed = 1U << 1;  // Reads as 1 always.
inline constexpr std::uint64_t kRflagsPf = 1U << 2;
inline constexpr std::uint64_t kRflagsAf = 1U << 4;
inline constexpr std::uint64_t kRflagsZf = 1U << 6;
inline constexpr std::uint64_t kRflagsSf = 1U << 7;
inline constexpr std::uint64_t kRflagsTf = 1U << 8;
inline constexpr std::uint64_t kRflagsIf = 1U << 9;
inline constexpr std::uint64_t kRflagsDf = 1U << 10;
inline constexpr std::uint64_t kRflagsOf = 1U << 11;
inline constexpr std::uint64_t kRflagsIopl = 3U << 12;
inline constexpr std::uint64_t kRflagsNt = 1U << 14;
inline constexpr std::uint64_t kRflagsRf = 1U << 16;
inline constexpr std::uint64_t kRflagsVm = 1U << 17;
inline constexpr std::uint64_t kRflagsAc = 1U << 18;
inline constexpr std::uint64_t kRflagsVif = 1U << 19;
inline constexpr std::uint64_t kRflagsVip = 1U << 20;
inline constexpr std::uint64_t kRflagsId = 1U << 21;

// Control registers: Intel SDM Vol. 3A, 2.5; IA32_EFER: Vol. 3A, 2.2.1.
inline constexpr std::uint64_t kCr0Pe = 1U << 0;
inline constexpr std::uint64_t kCr0Pg = 1U << 31;
inline constexpr std::uint64_t kEferLma = 1U << 10;

// The privilege level that the vCPU executes at, 0 to 3: the low bits of CS (SDM Vol. 3A, 5.5), but 0 in real mode and
// 3 in virtual-8086 mode, where CS is no selector (Vol. 3B, 21.1 and 21.2).
constexpr unsigned cpl(const Registers& registers) {
  if ((registers.cr0 & kCr0Pe) == 0) return 0;
  if ((registers.rflags & kRflagsVm) != 0) return 3;
  return static_cast<unsigned>(registers.cs & 3);
}

// The general-purpose registers in the order of their number in instruction encodings (REX bit and ModRM field: SDM
// Vol. 2A, table 3-1), so that a decoder may convert with static_cast.
enum class Gpr : std::uint8_t {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR10,
  kR11,
  kR12,
  kR13,
  kR14,
  kR15,
};
inline constexpr std::size_t kGprCount = 16;

namespace detail {
struct GprSlot {
  std::uint64_t Registers::*member;
  std::string_view name;
};
inline constexpr std::array<GprSlot, kGprCount> kGprs = {{
    {&Registers::rax, "rax"},
    {&Registers::rcx, "rcx"},
    {&Registers::rdx, "rdx"},
    {&Registers::rbx, "rbx"},
    {&Registers::rsp, "rsp"},
    {&Registers::rbp, "rbp"},
    {&Registers::rsi, "rsi"},
    {&Registers::rdi, "rdi"},
    {&Registers::r8, "r8"},
    {&Registers::r9, "r9"},
    {&Registers::r10, "r10"},
    {&Registers::r11, "r11"},
    {&Registers::r12, "r12"},
    {&Registers::r13, "r13"},
    {&Registers::r14, "r14"},
    {&Registers::r15, "r15"},
}};
}  // namespace detail

// `gpr` must be one of the enumerators.
constexpr std::uint64_t get(const Registers& registers, Gpr gpr) {
  return registers.*detail::kGprs[static_cast<std::size_t>(gpr)].member;
}
constexpr void set(Registers& registers, Gpr gpr, std::uint64_t value) {
  registers.*detail::kGprs[static_cast<std::size_t>(gpr)].member = value;
}
// The assembler's name of the whole 64-bit register, "rax".
constexpr std::string_view name(Gpr gpr) { return detail::kGprs[static_cast<std::size_t>(gpr)].name; }

}  // namespace panicroom::hypervisor
