// How the host starts a workload in a guest that has no input: a process that waits on its CPU looks at a word of a
// page, and the host writes that word into the guest's memory. The agent tells where the page is (Armed.start_pages).
//
// The guest may be wrong about the page, or hostile: the host writes only where it finds the rest of the page as it
// must be, and the agent takes nothing from it but whether the word is zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace panicroom::agent {

// At the beginning of the page; little-endian, as both sides are x86-64.
struct StartPage {
  std::uint64_t magic;    // kStartMagic.
  std::uint32_t cpu;      // The CPU that the process is pinned to.
  std::uint32_t number;   // Of Config.starts, from 0.
  std::uint64_t waiting;  // 1 once the process waits; written by the guest.
  std::uint64_t go;       // 0 until the host writes kStartGo.
};
static_assert(sizeof(StartPage) == 32);

inline constexpr std::uint64_t kStartMagic = 0x74726174736d7270;  // "prmstart"
inline constexpr std::uint64_t kStartGo = 1;
inline constexpr std::size_t kMaxStarts = 64;

}  // namespace panicroom::agent
