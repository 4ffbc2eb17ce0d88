#include "agent/protocol/config.h"

#include <algorithm>
#include <set>

#include "agent/protocol/agent.pb.h"
#include "agent/protocol/start_page.h"

namespace panicroom::agent {
namespace {

Result<> check(const PinnedWorkload& pinned, std::string_view key) {
  if (pinned.workload == nullptr) return invalid_input("{}: cpu{} has none", key, pinned.cpu);
  if (index(pinned.cpu) >= kMaxCpus) {
    return invalid_input("{}: cpu{} is beyond the {} CPUs that x86-64 Linux can have", key, pinned.cpu, kMaxCpus);
  }
  return {};
}

Result<> check(const Config& config) {
  if (config.capture_command_line.size() > kMaxCaptureCommandLine) {
    return invalid_input("the capture kernel's command line is {} bytes long; at most {} fit",
                         config.capture_command_line.size(), kMaxCaptureCommandLine);
  }
  if (config.capture_command_line.find('\0') != std::string::npos) {
    return invalid_input("the capture kernel's command line has a zero byte in it");
  }
  std::set<VcpuId> seen;
  for (const PinnedWorkload& pinned : config.workloads) {
    TRY(check(pinned, "workload"));
    if (pinned.workload->once) {
      return invalid_input("workload: cpu{}: '{}' happens once and can only be started", pinned.cpu,
                           pinned.workload->name);
    }
    if (!seen.insert(pinned.cpu).second) return invalid_input("workload: cpu{} has more than one", pinned.cpu);
  }
  if (config.starts.size() > kMaxStarts) {
    return invalid_input("start: {} workloads wait to be started; at most {} can", config.starts.size(), kMaxStarts);
  }
  for (const PinnedWorkload& pinned : config.starts) TRY(check(pinned, "start"));
  if (config.slowdown == 0 || config.slowdown > kMaxSlowdown) {
    return invalid_input("slowdown: {} is not between 1 and {}", config.slowdown, kMaxSlowdown);
  }
  return {};
}

void encode(const PinnedWorkload& pinned, v1::Config::Workload& message) {
  message.set_cpu(index(pinned.cpu));
  message.set_name(std::string(pinned.workload->name));
}

Result<PinnedWorkload> decode(const v1::Config::Workload& message, std::string_view key) {
  const Workload* known = find_workload(message.name());
  if (known == nullptr)
    return invalid_input("{}: cpu{}: no workload is called '{}'", key, message.cpu(), message.name());
  return PinnedWorkload{VcpuId{message.cpu()}, known};
}

Result<KexecCall> decode(v1::KexecCall call) {
  switch (call) {
    case v1::KEXEC_CALL_FILE_LOAD:
      return KexecCall::kFileLoad;
    case v1::KEXEC_CALL_LOAD:
      return KexecCall::kLoad;
    default:
      return invalid_input("kexec: no system call has the number {}", static_cast<int>(call));
  }
}

}  // namespace

std::string_view name(KexecCall call) { return call == KexecCall::kLoad ? "kexec_load()" : "kexec_file_load()"; }

bool loads_kernels(const Config& config) {
  const auto loads = [](const PinnedWorkload& pinned) { return pinned.workload->kind == WorkloadKind::kKexecLoad; };
  return std::ranges::any_of(config.workloads, loads) || std::ranges::any_of(config.starts, loads);
}

Result<std::vector<std::byte>> encode_config(const Config& config) {
  TRY(check(config));
  v1::Config message;
  message.set_capture_command_line(config.capture_command_line);
  for (const PinnedWorkload& pinned : config.workloads) encode(pinned, *message.add_workloads());
  for (const PinnedWorkload& pinned : config.starts) encode(pinned, *message.add_starts());
  message.set_kexec(config.kexec == KexecCall::kLoad ? v1::KEXEC_CALL_LOAD : v1::KEXEC_CALL_FILE_LOAD);
  message.set_slowdown(config.slowdown);
  std::vector<std::byte> bytes(message.ByteSizeLong());
  if (!message.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return invalid_input("the capture kernel's command line is not UTF-8");
  }
  return bytes;
}

Result<Config> decode_config(Bytes bytes) {
  v1::Config message;
  if (bytes.size() > std::size_t{1024} * 1024 ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return invalid_input("{} is not a panicroom.agent.v1.Config", kConfigPath);
  }
  Config config;
  config.capture_command_line = message.capture_command_line();
  for (const auto& workload : message.workloads()) config.workloads.push_back(TRY(decode(workload, "workload")));
  for (const auto& start : message.starts()) config.starts.push_back(TRY(decode(start, "start")));
  config.kexec = TRY(decode(message.kexec()));
  if (message.slowdown() != 0) config.slowdown = message.slowdown();
  TRY(check(config));
  return config;
}

}  // namespace panicroom::agent
