#include "agent/guest/first_kernel.h"

#include <fcntl.h>
#include <linux/kexec.h>
#include <sys/klog.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/guest/pseudo_files.h"
#include "agent/guest/tsc_frequency.h"
#include "agent/guest/workload_loops.h"
#include "agent/protocol/config.h"
#include "agent/protocol/sample_plan.h"
#include "base/file.h"

namespace panicroom::agent {
namespace {

constexpr long kHeartbeatNanoseconds = 100'000'000;

std::uint32_t online_cpus() { return static_cast<std::uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)); }

Outcome<Config> read_config() {
  auto bytes = read_file(std::string(kConfigPath));
  if (!bytes) return failure(v1::Failed::STAGE_CONFIG, 0, bytes.error().message());
  auto config = decode_config(*bytes);
  if (!config) return failure(v1::Failed::STAGE_CONFIG, 0, config.error().message());
  return std::move(*config);
}

// The file moved to /sys/kernel/kexec/ in later kernels; whichever is there counts.
std::optional<std::uint64_t> read_kexec_number(const char* name) {
  if (const auto value = read_number(fmt::format("/sys/kernel/kexec_{}", name).c_str())) return value;
  return read_number(fmt::format("/sys/kernel/kexec/{}", name).c_str());
}

// What printk's buffer holds; empty if it cannot be read.
std::string kernel_log() {
  constexpr int kReadAll = 3;  // SYSLOG_ACTION_READ_ALL
  std::string log(std::size_t{1} << 20, '\0');
  const int length = klogctl(kReadAll, log.data(), static_cast<int>(log.size()));
  log.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  return log;
}

std::string_view what_mends(int error) {
  switch (error) {
    case EADDRNOTAVAIL:
    case ENOMEM:
      return "the capture kernel and its initramfs do not fit into the crash memory: raise machine.crashkernel";
    case ENOEXEC:
    case EINVAL:
      return "the kernel under test does not take this file for a bootable bzImage: choose another capture kernel";
    case EPERM:
      return "kexec is forbidden: take kexec_load_disabled and lockdown= off the kernel's command line";
    case EKEYREJECTED:
    case ENOKEY:
    case ENODATA:
    case EBADMSG:
      return "the kernel wants a signed capture kernel (CONFIG_KEXEC_SIG_FORCE or lockdown=)";
    case EBUSY:
      return "another kexec is going on";
    default:
      return "see the kernel's console for its reason";
  }
}

// Whether a workload needs the kernel's file itself.
bool loads_kernels(const Config& config) {
  const auto loads = [](const PinnedWorkload& pinned) { return pinned.workload->kind == WorkloadKind::kKexecLoad; };
  return std::ranges::any_of(config.workloads, loads) || std::ranges::any_of(config.starts, loads);
}

// The size of the crash memory.
Outcome<std::uint64_t> load_capture_kernel(const Config& config, const std::vector<Gpa>& workload_pages) {
  const auto crash_size = read_kexec_number("crash_size");
  if (!crash_size) {
    return failure(v1::Failed::STAGE_KEXEC_MISSING, 0,
                   "/sys/kernel/kexec_crash_size is not there: this kernel is built without kdump (CONFIG_CRASH_DUMP, "
                   "CONFIG_KEXEC_FILE): choose another");
  }
  if (*crash_size == 0) {
    return failure(
        v1::Failed::STAGE_CRASH_MEMORY, 0,
        "the kernel has reserved no crash memory: crashkernel= is absent, malformed, or more than the machine's "
        "memory has room for (machine.crashkernel, machine.memory; see the console)");
  }
  const std::string kernel_path(kCaptureKernelPath);
  const std::string initrd_path(kCaptureInitrdPath);
  const UniqueFd kernel(open(kernel_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!kernel) return failure(v1::Failed::STAGE_CONFIG, errno, kernel_path + " is not in the initramfs");
  const UniqueFd initrd(open(initrd_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!initrd) return failure(v1::Failed::STAGE_CONFIG, errno, initrd_path + " is not in the initramfs");

  std::string command_line = fmt::format("{} {}{} {}{}", config.capture_command_line, kCpusParameter, online_cpus(),
                                         kPagesParameter, format_pages(workload_pages));
  // So that the capture kernel need not measure again what this one has measured.
  if (const auto khz = detected_tsc_khz(kernel_log())) command_line += fmt::format(" tsc_early_khz={}", *khz);
  if (syscall(SYS_kexec_file_load, kernel.get(), initrd.get(), command_line.size() + 1, command_line.c_str(),
              static_cast<unsigned long>(KEXEC_FILE_ON_CRASH)) != 0) {
    const int error = errno;
    if (error == ENOSYS) {
      return failure(v1::Failed::STAGE_KEXEC_MISSING, error,
                     "this kernel has no kexec_file_load() (CONFIG_KEXEC_FILE): choose another");
    }
    return failure(v1::Failed::STAGE_KEXEC_LOAD, error,
                   fmt::format("kexec_file_load() with {} bytes of crash memory: {}: {}", *crash_size,
                               std::strerror(error), what_mends(error)));
  }
  if (read_kexec_number("crash_loaded") != 1) {
    return failure(v1::Failed::STAGE_KEXEC_LOAD, 0,
                   "kexec_file_load() succeeded, but kexec_crash_loaded does not say 1");
  }
  // They lie in the crash memory now: give the initramfs's back.
  if (!loads_kernels(config)) unlink(kernel_path.c_str());
  unlink(initrd_path.c_str());
  return *crash_size;
}

}  // namespace

Failure run_first_kernel(Channel& channel) {
  const auto config = read_config();
  if (!config) return config.error();
  WorkloadProcesses workloads;
  if (const auto prepared = workloads.prepare(config->workloads, config->starts); !prepared) return prepared.error();
  const auto workload_pages = workloads.pages();
  const auto crash_size = load_capture_kernel(*config, workload_pages);
  if (!crash_size) return crash_size.error();
  if (const auto started = workloads.start(channel); !started) return started.error();

  v1::Message message;
  message.mutable_armed()->set_crash_size(*crash_size);
  message.mutable_armed()->set_workloads(static_cast<std::uint32_t>(config->workloads.size()));
  for (const Gpa page : workload_pages) message.mutable_armed()->add_workload_pages(page.value);
  for (const Gpa page : workloads.start_pages()) message.mutable_armed()->add_start_pages(page.value);
  channel.send(std::move(message));
  while (true) {
    while (workloads.told_to_be_quiet()) pause();
    v1::Message beat;
    workloads.fill(*beat.mutable_heartbeat());
    beat.mutable_heartbeat()->set_online_cpus(online_cpus());
    channel.send(std::move(beat));
    const timespec interval{0, kHeartbeatNanoseconds};
    nanosleep(&interval, nullptr);
  }
}

}  // namespace panicroom::agent
