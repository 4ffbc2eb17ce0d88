// The guest that the doctor measures engines with: a ROM of 64 KiB that a CPU out of reset runs in rounds of counting
// at CPL0, in 32-bit protected mode without paging. The same bytes run under every engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace panicroom::harness {

inline constexpr std::size_t kGuestRomBytes = 0x10000;
inline constexpr std::uint32_t kGuestRomAddress = 0xffff0000;  // Where the first fetch after reset goes: top of 4 GiB.

// A byte written here before every round and after the last: QEMU's isa-debugcon.
inline constexpr std::uint16_t kMarkPort = 0xe9;
// Written to after the last round: QEMU's isa-debug-exit, which then exits with kExitStatus.
inline constexpr std::uint16_t kExitPort = 0xf4;
inline constexpr std::uint8_t kExitValue = 0x10;
inline constexpr int kExitStatus = (kExitValue << 1) | 1;

// Guest instructions between one mark and the next.
inline constexpr std::uint32_t kLoopsPerRound = 50'000;
inline constexpr double kInstructionsPerRound = 2.0 * kLoopsPerRound + 5;

std::vector<std::byte> guest_rom(std::uint32_t rounds);

}  // namespace panicroom::harness
