// The names of the points that no spelling by symbol and instruction can give: places found by what the code does.
// How each is found in a kernel is the resolver's part (points/resolver.h).
#pragma once

#include <array>
#include <string_view>

namespace panicroom::kernels {

struct NamedPointEntry {
  std::string_view name;
  std::string_view meaning;  // One sentence, for `panicroom kernels inspect` and the manual.
};

inline constexpr std::string_view kPanicGate = "panic/gate";
inline constexpr std::string_view kCrashKexecLockTaken = "__crash_kexec/lock-taken";

inline constexpr std::array<NamedPointEntry, 2> kNamedPoints = {{
    {kPanicGate, "The CPU has won the compare-and-exchange on panic_cpu: it is the one that goes on in panic()."},
    {kCrashKexecLockTaken, "The CPU has taken the kexec lock in __crash_kexec() and is about to write the dump."},
}};

}  // namespace panicroom::kernels
