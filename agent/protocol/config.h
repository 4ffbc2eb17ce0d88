// The agent's configuration and where the host puts things in the first kernel's initramfs.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "agent/protocol/workloads.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::agent {

inline constexpr std::string_view kConfigPath = "/etc/panicroom";
// The bzImage that kexec_file_load() gets, and the ELF vmlinux that kexec_load() is given the parts of (packed.h).
inline constexpr std::string_view kCaptureKernelPath = "/capture/kernel";
inline constexpr std::string_view kCaptureVmlinuxPath = "/capture/vmlinux.gz";
inline constexpr std::string_view kCaptureInitrdPath = "/capture/initrd";
// The agent adds this, and the number of CPUs that are online, to the capture kernel's command line.
inline constexpr std::string_view kCpusParameter = "panicroom.cpus=";
// And this, with the page frame numbers of the workloads' pages: hexadecimal, with commas between them.
inline constexpr std::string_view kPagesParameter = "panicroom.pages=";

// The host puts this on the capture kernel's command line if it reads what the agent lends (agent.proto, Lent).
inline constexpr std::string_view kLendParameter = "panicroom.lend";

// The host puts this, and makedumpfile's dump level in decimal, on the capture kernel's command line if the dump is to
// be saved; then makedumpfile is in the capture kernel's initramfs, at this path.
inline constexpr std::string_view kSaveParameter = "panicroom.save=";
inline constexpr std::string_view kMakedumpfilePath = "/usr/bin/makedumpfile";

// COMMAND_LINE_SIZE of x86 is 2048 with the terminating zero; elfcorehdr=, kCpusParameter and, for 64 vCPUs,
// kPagesParameter need some of it.
inline constexpr std::size_t kMaxCaptureCommandLine = 1400;
// The largest NR_CPUS of x86.
inline constexpr std::uint32_t kMaxCpus = 8192;

// The system call by which the agent loads the capture kernel.
enum class KexecCall {
  kFileLoad,  // kexec_file_load(2): the kernel reads the bzImage, and makes and checks everything itself.
  kLoad,      // kexec_load(2): everything is made in user space, and the kernel only copies.
};
// "kexec_file_load()".
std::string_view name(KexecCall call);

// Beyond any host that is of use; of a Config's slowdown.
inline constexpr std::uint32_t kMaxSlowdown = 1000;

struct PinnedWorkload {
  VcpuId cpu{};
  const Workload* workload = nullptr;  // Never null in a decoded Config. Points into workloads().
};

struct Config {
  std::vector<PinnedWorkload> workloads;  // At most one for a CPU; none that Workload::once.
  std::vector<PinnedWorkload> starts;     // At most kMaxStarts; in the order of the host's start steps.
  std::string capture_command_line;
  KexecCall kexec = KexecCall::kFileLoad;
  std::uint32_t slowdown = 1;  // How many times longer than usual a workload may take to begin: 1 to kMaxSlowdown.
};

// Whether one of its workloads needs the file at kCaptureKernelPath itself.
bool loads_kernels(const Config& config);

// The content of kConfigPath: a serialised panicroom.agent.v1.Config. kInvalidInput if decode_config() would refuse it.
Result<std::vector<std::byte>> encode_config(const Config& config);
// kInvalidInput, naming the field, if it is no configuration or one that no agent can keep.
Result<Config> decode_config(Bytes bytes);

}  // namespace panicroom::agent
