// The named points: places that no spelling by symbol and instruction can give, found by what the code does there.
//
// This is the table to read, and to extend, for a kernel engineer: a name, what it means, and the ways to find it, in
// the order in which they are tried. The first way that finds anything in a kernel decides; finding more than one place
// where one is meant is an error. The methods are carried out by named_points.cc.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "base/result.h"

namespace panicroom::kernels {

// What must hold at the instruction for the point to count as reached.
enum class PointCondition {
  kAlways,
  kZeroFlagSet,  // A compare-and-exchange that was won; a trylock that succeeded.
  kEaxNonZero,   // A function that returns an int returned true.
  kAlNonZero,    // A function that returns a bool returned true: the bits above AL are anything.
};

enum class Method {
  kNone,
  kEntry,               // The first instruction of each of `functions` that the kernel has.
  kEntryBehind,         // The first instruction of `target`, if `functions` call it.
  kEntryBeside,         // Of the functions of one name, the first instruction of the one that stands beside `target`.
  kAfterExchange,       // Behind the one `lock cmpxchg` of the variable `target` in any of `functions`.
  kAfterCall,           // Behind the call of `target` in `functions`.
  kAfterMutexTrylock,   // Behind the call mutex_trylock(&target) in `functions`.
  kCall,                // The call of `target` in `functions`.
  kJumpOutOfTheKernel,  // The indirect call behind the load of GS in `functions`.
};

struct Way {
  Method method = Method::kNone;
  std::array<std::string_view, 2> functions{};
  std::string_view target{};
  PointCondition condition = PointCondition::kAlways;
};

struct NamedPointEntry {
  std::string_view name;
  std::string_view meaning;  // For `panicroom kernels inspect` and the manual.
  std::array<Way, 2> ways{};
  bool several = false;  // It may have more than one address; each is a place of it.
};

inline constexpr std::string_view kPanicGate = "panic/gate";
inline constexpr std::string_view kCrashKexecLockTaken = "__crash_kexec/lock-taken";

// Until 6.16 panic() does the work; from 6.17 on panic() calls vpanic(), which others call too.
// From 7.0 on there is a decoy: the compare-and-exchange on panic_redirect_cpu before the one on panic_cpu. So the
// variable decides, never the order. And ZF decides, not EAX: both are set by the instruction, but EAX is compared in
// older kernels only. Kernels that have no __kexec_lock (before 5.19 and stable backports of 2022) take kexec_mutex.
// Until 6.13 relocate_kernel() is called by name; later through a register, as a copy on the control page.
inline constexpr auto kNamedPoints = std::to_array<NamedPointEntry>({
    {"panic/entry",
     "A CPU enters panic(), or vpanic() where panic() only calls it: nothing is decided yet.",
     {{{Method::kEntryBehind, {"panic"}, "vpanic"}, {Method::kEntry, {"panic"}}}}},
    {kPanicGate,
     "The instruction behind the compare-and-exchange on panic_cpu in panic() that decides which CPU goes on: ZF is "
     "set on "
     "the CPU that won. A CPU that holds panic_cpu already (from nmi_panic()) passes with ZF clear.",
     {{{Method::kAfterExchange, {"vpanic", "panic"}, "panic_cpu"}}}},
    {"panic/won",
     "panic/gate on a CPU that has won panic_cpu there: it is the one that goes on in panic().",
     {{{Method::kAfterExchange, {"vpanic", "panic"}, "panic_cpu", PointCondition::kZeroFlagSet}}}},
    {"nmi_panic/gate",
     "The instruction behind the compare-and-exchange on panic_cpu in nmi_panic(), which stands before panic/gate for "
     "panics out of an NMI.",
     {{{Method::kAfterExchange, {"nmi_panic"}, "panic_cpu"}}}},
    {"nmi_panic/won",
     "nmi_panic/gate on a CPU that has won panic_cpu there; it goes through panic() next.",
     {{{Method::kAfterExchange, {"nmi_panic"}, "panic_cpu", PointCondition::kZeroFlagSet}}}},
    {"crash_kexec/gate",
     "The instruction in crash_kexec() behind the compare-and-exchange on panic_cpu, or behind the call of "
     "panic_try_start() that does it: an oops that is to panic goes through here instead of panic/gate.",
     {{{Method::kAfterExchange, {"crash_kexec"}, "panic_cpu"},
       {Method::kAfterCall, {"crash_kexec"}, "panic_try_start"}}}},
    {"crash_kexec/won",
     "crash_kexec/gate on a CPU that has won panic_cpu there: it goes to the capture kernel without panic().",
     {{{Method::kAfterExchange, {"crash_kexec"}, "panic_cpu", PointCondition::kZeroFlagSet},
       {Method::kAfterCall, {"crash_kexec"}, "panic_try_start", PointCondition::kAlNonZero}}}},
    {kCrashKexecLockTaken,
     "The CPU has just taken the kexec lock in __crash_kexec(): it is about to go to the capture kernel.",
     {{{Method::kAfterExchange, {"__crash_kexec"}, "__kexec_lock", PointCondition::kZeroFlagSet},
       {Method::kAfterMutexTrylock, {"__crash_kexec"}, "kexec_mutex", PointCondition::kEaxNonZero}}}},
    {"crash_get_memory_size/lock-taken",
     "The CPU has just taken the kexec lock in crash_get_memory_size(), for a read of /sys/kernel/kexec_crash_size: "
     "__crash_kexec() on another CPU finds it taken.",
     {{{Method::kAfterExchange, {"crash_get_memory_size"}, "__kexec_lock", PointCondition::kZeroFlagSet},
       {Method::kAfterCall, {"crash_get_memory_size"}, "mutex_lock"}}}},
    {"__register_nmi_handler/lock-taken",
     "The CPU has just taken the lock of a list of NMI handlers, interrupts off. An NMI is not kept out by that.",
     {{{Method::kAfterCall, {"__register_nmi_handler"}, "_raw_spin_lock_irqsave"}}}},
    {"crash-stop/nmi",
     "A CPU enters crash_nmi_callback(): kdump's stop has reached it by NMI, or it has lost nmi_panic() and finds the "
     "stop "
     "sent.",
     {{{Method::kEntry, {"crash_nmi_callback"}}}}},
    {"stop/nmi",
     "A CPU enters smp_stop_nmi_callback(): the stop of panic() or reboot without a dump has reached it by NMI.",
     {{{Method::kEntry, {"smp_stop_nmi_callback"}}}}},
    {"stop/irq",
     "A CPU handles the reboot vector's interrupt: the stop of panic() or reboot without a dump has reached it.",
     {{{Method::kEntry, {"__sysvec_reboot"}}, {Method::kEntry, {"sysvec_reboot"}}}}},
    {"stop/self",
     "A CPU has lost the race for panic_cpu and stops itself: it enters panic_smp_self_stop() or "
     "nmi_panic_self_stop().",
     {{{Method::kEntry, {"panic_smp_self_stop", "nmi_panic_self_stop"}}}},
     true},
    {"kexec/jump",
     "The last instruction of machine_kexec() before the code on the control page: interrupts are off, the IDT is gone "
     "and "
     "what follows is no longer this kernel.",
     {{{Method::kCall, {"machine_kexec"}, "relocate_kernel"}, {Method::kJumpOutOfTheKernel, {"machine_kexec"}}}}},
    {"8250/write",
     "A CPU is about to write a register of an 8250 UART: each letter on a serial console is such a write, and a line "
     "of "
     "the console has some others before and behind its letters. early_printk has a function of the same name.",
     {{{Method::kEntryBeside, {"io_serial_out"}, "mem_serial_out"}}}},
    {"reset",
     "A CPU begins to reset the machine: native_machine_emergency_restart(), where panic's timeout and reboot(2) both "
     "end.",
     {{{Method::kEntry, {"native_machine_emergency_restart"}}}}},
    {"nmi/entry",
     "A CPU takes an NMI: exc_nmi(), or fred_exc_nmi() on a CPU with FRED, before it is known what the NMI is for. One "
     "that arrives during another is not seen before the first is done.",
     {{{Method::kEntry, {"exc_nmi", "fred_exc_nmi"}}}},
     true},
});

constexpr const NamedPointEntry* find_named_point(std::string_view name) {
  const auto* entry = std::ranges::find(kNamedPoints, name, &NamedPointEntry::name);
  return entry == kNamedPoints.end() ? nullptr : entry;
}

class KernelImage;
struct ResolvedPoint;

// Finds a table's entry in a kernel; see resolve() in resolver.h for the errors.
Result<ResolvedPoint> resolve_named_point(const KernelImage& kernel, const NamedPointEntry& entry);

}  // namespace panicroom::kernels
