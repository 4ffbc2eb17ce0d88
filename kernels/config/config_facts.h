// The options of a kernel's configuration that decide what panicroom can do with it: one table, to be read and
// extended.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/config/kernel_config.h"

namespace panicroom::kernels {

enum class Need {
  kNothing,   // Told because behaviour differs.
  kWanted,    // Without it something is lost that the remark names.
  kRequired,  // Without it no scenario works.
  kUnwanted,  // With it something is lost that the remark names.
};

struct ConfigFactEntry {
  std::string_view option;  // Without CONFIG_.
  Need need = Need::kNothing;
  std::string_view remark{};  // What it is about; for all but kNothing, what follows where the need is not met.
};

inline constexpr auto kConfigFacts = std::to_array<ConfigFactEntry>({
    {"64BIT", Need::kRequired, "panicroom knows x86-64 kernels only"},
    {"SMP", Need::kWanted, "the kernel uses one CPU: scenarios with more are never armed"},
    {"KEXEC", Need::kWanted, "kexec_load(2), by which machine: {kexec: load} and slow hosts load the capture kernel"},
    {"KEXEC_FILE", Need::kWanted, "kexec_file_load(2), by which everybody else does"},
    {"KEXEC_SIG", Need::kNothing, "the capture kernel's signature is checked if it has one"},
    {"KEXEC_SIG_FORCE", Need::kUnwanted,
     "only a capture kernel with a signature that this kernel trusts can be loaded"},
    {"CRASH_DUMP", Need::kRequired, "as a capture kernel it cannot find the dead kernel's memory"},
    {"PROC_VMCORE", Need::kRequired, "as a capture kernel it has no /proc/vmcore"},
    {"RELOCATABLE", Need::kRequired, "as a capture kernel it cannot run in the memory reserved for it"},
    {"BLK_DEV_INITRD", Need::kRequired, "panicroom's agent is started from an initramfs"},
    {"BINFMT_ELF", Need::kRequired, "panicroom's agent is an ELF program"},
    {"PROC_FS", Need::kRequired, "panicroom's agent needs /proc"},
    {"PROC_KCORE", Need::kWanted, "kexec_load(2) is told from it where the kernel lies"},
    {"X86_IOPL_IOPERM", Need::kRequired, "panicroom's agent tells the host what it sees through an I/O port"},
    {"LOCK_DOWN_KERNEL_FORCE_INTEGRITY", Need::kUnwanted, "panicroom's agent may not use its I/O port"},
    {"LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY", Need::kUnwanted, "panicroom's agent may not use its I/O port"},
    {"KALLSYMS", Need::kRequired, "there is no other source of symbols in a stripped image"},
    {"KALLSYMS_ALL", Need::kWanted,
     "points that a variable decides (panic/gate, __crash_kexec/lock-taken) are not found"},
    {"SERIAL_8250_CONSOLE", Need::kWanted, "console.log stays empty, and a capture kernel's own panic is not seen"},
    {"RANDOMIZE_BASE", Need::kNothing, "the slide is measured in each boot"},
    {"RANDOMIZE_MEMORY", Need::kNothing, "the direct map moves too"},
    {"PHYSICAL_ALIGN", Need::kNothing, "the granularity of the slide"},
    {"X86_X2APIC", Need::kNothing, "the qemu engine offers the xAPIC only"},
    {"X86_FRED", Need::kNothing, "used where the CPU has it; no engine offers it"},
    {"X86_KERNEL_IBT", Need::kNothing, "functions begin with ENDBR64"},
    {"PREEMPT_RT", Need::kNothing, "spinlocks sleep, and printing is a thread's work"},
    {"PREEMPT_DYNAMIC", Need::kNothing, "preempt= chooses at boot"},
    {"HAVE_STATIC_CALL_INLINE", Need::kNothing, "some indirect calls are patched at boot"},
    {"DEBUG_INFO_BTF", Need::kNothing, "structures' layouts are in the image"},
    {"PANIC_ON_OOPS", Need::kNothing, "every oops is a panic"},
    {"PANIC_TIMEOUT", Need::kNothing, "seconds from a panic without a dump to the reset; 0: never"},
    {"HARDLOCKUP_DETECTOR", Need::kNothing, "a CPU that hangs with interrupts off may become an NMI's panic"},
    {"NR_CPUS", Need::kNothing, "the most CPUs that a scenario can have"},
    {"RD_GZIP", Need::kNothing, "an initramfs may be packed with it"},
    {"RD_XZ", Need::kNothing, "an initramfs may be packed with it"},
    {"RD_LZ4", Need::kNothing, "an initramfs may be packed with it"},
    {"RD_ZSTD", Need::kNothing, "an initramfs may be packed with it"},
});

struct ConfigFact {
  const ConfigFactEntry* entry = nullptr;
  std::string value;  // "n" if the option is not set or not known to that kernel.
  bool met = true;    // The entry's need.
};

// What the table says of a configuration, in the table's order.
std::vector<ConfigFact> config_facts(const KernelConfig& config);

}  // namespace panicroom::kernels
