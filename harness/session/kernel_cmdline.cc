#include "harness/session/kernel_cmdline.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string_view>

#include "agent/protocol/config.h"

namespace panicroom::harness {
namespace {

// What both kernels get. Each word either lets panicroom see what happens or takes away what only costs time:
//   console=ttyS0        the console that is recorded
//   panic=1              a kernel that panics without a dump resets the machine, which is an outcome and ends the run
//   cryptomgr.notests    no self-tests of ciphers, a quarter of a second of every boot
//   random.trust_cpu=on  nobody waits for entropy in a machine that has no devices to gather it from
//   no_timer_check       a host that is out of CPUs for a moment does not fail the check whether timer interrupts
//   arrive
constexpr std::string_view kCommon = "console=ttyS0 panic=1 cryptomgr.notests random.trust_cpu=on no_timer_check";

// What both kernels get besides where kernel code is slow (GuestPace): it leaves out what a boot spends its time on and
// no crash path needs.
//   clearcpuid=          instructions that such hosts refuse in kernel code and do not let CPUID hide: POPCNT, AES, AVX
//                        and others; numbers, as X86_FEATURE_* has them, because 5.10 knows no names
//   tsc=reliable         no watch over the counter by the timer interrupts, which come late
//   init_on_alloc=0      no zeroes in pages of which nobody asks for them
//   rodata=off           no walk through the page tables of all code and data
//   mitigations=off      no page tables to be changed at every system call, and no fences behind it
//   initcall_blacklist=  no initcalls that take long; a name that a kernel lacks does nothing
constexpr std::string_view kSlow =
    " clearcpuid=129,137,140,147,148,150,151,153,154,156,157 tsc=reliable init_on_alloc=0 rodata=off mitigations=off "
    "initcall_blacklist=";
// Found by QEMU's -icount and initcall_debug on kernels 5.10 to 7.2: a boot is spared a tenth (5.10) to a third (6.12)
// of its instructions.
constexpr std::array<std::string_view, 25> kSlowInitcalls = {
    // ftrace: the names of enumerators are put into every event's format, and each event gets its files.
    "trace_eval_init", "tracer_init_tracefs", "ftrace_check_for_weak_functions",
    // BPF: the first of these that runs reads all type information (.BTF), and each looks names up in it.
    "cubictcp_register", "bpf_prog_test_run_init", "kfunc_init", "bpf_key_sig_kfuncs_init", "bpf_trace_kfuncs_init",
    "bpf_rstat_kfunc_init", "bpf_tcp_ca_kfunc_init", "bpf_kprobe_multi_kfuncs_init", "cpumask_kfunc_init",
    "crypto_kfunc_init", "bpf_fs_kfuncs_init", "bpf_kfunc_init", "bpf_dummy_struct_ops_init", "bpf_mptcp_kfunc_init",
    "bpf_crypto_skcipher_init", "bpf_qdisc_kfunc_init", "bpf_memcontrol_init", "rqspinlock_register_kfuncs",
    // Signatures of certificates for modules, which nobody loads here.
    "load_system_certificate_list", "load_uefi_certs",
    // Self-tests that cryptomgr.notests does not turn off.
    "crypto_kdf108_init", "jent_mod_init"};
// The watchdogs' threads and timers on each CPU. Not where the scenario has words for them: it is about them then.
constexpr std::string_view kNoWatchdog = " nowatchdog";

bool is_about_watchdogs(std::string_view words) {
  return words.find("watchdog") != std::string_view::npos || words.find("lockup") != std::string_view::npos;
}

std::string words_for(hypervisor::GuestPace pace, std::string_view extra) {
  if (!pace.slow_kernel_code()) return "";
  return fmt::format("{}{}{}", kSlow, fmt::join(kSlowInitcalls, ","), is_about_watchdogs(extra) ? "" : kNoWatchdog);
}

}  // namespace

std::string first_cmdline(const MachineSpec& machine, const std::string& extra, From from, hypervisor::GuestPace pace) {
  return fmt::format("{} crashkernel={}K{}{}{}{}", kCommon, machine.crashkernel_bytes >> 10,
                     from == From::kBoot ? " nokaslr" : "", words_for(pace, extra), extra.empty() ? "" : " ", extra);
}

// As distributions start a capture kernel: one CPU, devices to be reset first. And
//   noreplace-smp        for its one CPU it would rewrite every LOCK prefix in its code, a tenth of a second under
//                        emulation
// The agent adds tsc_early_khz=, the frequency that the kernel under test has measured.
std::string capture_cmdline(bool lend, const std::optional<SaveDump>& save, hypervisor::GuestPace pace) {
  std::string line = fmt::format("{} nr_cpus=1 reset_devices noreplace-smp{}", kCommon, words_for(pace, ""));
  if (lend) line += fmt::format(" {}", agent::kLendParameter);
  if (save) line += fmt::format(" {}{}", agent::kSaveParameter, save->level);
  return line;
}

}  // namespace panicroom::harness
