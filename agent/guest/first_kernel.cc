#include "agent/guest/first_kernel.h"

#include <sys/klog.h>
#include <time.h>
#include <unistd.h>

#include "agent/guest/kexec_file_load.h"
#include "agent/guest/kexec_load.h"
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

// The size of the crash memory.
Outcome<std::uint64_t> load_capture_kernel(const Config& config, const std::vector<Gpa>& workload_pages) {
  const auto crash_size = read_kexec_number("crash_size");
  if (!crash_size) {
    return failure(v1::Failed::STAGE_KEXEC_MISSING, 0,
                   "/sys/kernel/kexec_crash_size is not there: this kernel is built without kdump (CONFIG_CRASH_DUMP, "
                   "CONFIG_KEXEC, CONFIG_KEXEC_FILE): choose another");
  }
  if (*crash_size == 0) {
    return failure(
        v1::Failed::STAGE_CRASH_MEMORY, 0,
        "the kernel has reserved no crash memory: crashkernel= is absent, malformed, or more than the machine's "
        "memory has room for (machine.crashkernel, machine.memory; see the console)");
  }
  std::string command_line = fmt::format("{} {}{} {}{}", config.capture_command_line, kCpusParameter, online_cpus(),
                                         kPagesParameter, format_pages(workload_pages));
  // So that the capture kernel need not measure again what this one has measured.
  if (const auto khz = detected_tsc_khz(kernel_log())) command_line += fmt::format(" tsc_early_khz={}", *khz);
  const bool by_parts = config.kexec == KexecCall::kLoad;
  if (const auto loaded =
          by_parts ? load_by_kexec_load(command_line) : load_by_kexec_file_load(command_line, *crash_size);
      !loaded) {
    return tl::unexpected(loaded.error());
  }
  if (read_kexec_number("crash_loaded") != 1) {
    return failure(v1::Failed::STAGE_KEXEC_LOAD, 0,
                   fmt::format("{} succeeded, but kexec_crash_loaded does not say 1", name(config.kexec)));
  }
  // They lie in the crash memory now: give the initramfs's back.
  if (!loads_kernels(config)) unlink(std::string(kCaptureKernelPath).c_str());
  unlink(std::string(kCaptureVmlinuxPath).c_str());
  unlink(std::string(kCaptureInitrdPath).c_str());
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
  if (const auto started = workloads.start(channel, config->slowdown); !started) return started.error();

  v1::Message message;
  message.mutable_armed()->set_crash_size(*crash_size);
  message.mutable_armed()->set_kexec(config->kexec == KexecCall::kLoad ? v1::KEXEC_CALL_LOAD
                                                                       : v1::KEXEC_CALL_FILE_LOAD);
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
