#include "agent/protocol/config.h"

#include <algorithm>
#include <set>

#include "agent/protocol/agent.pb.h"

namespace panicroom::agent {
namespace {

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
    if (pinned.workload == nullptr) return invalid_input("workload: cpu{} has none", pinned.cpu);
    if (index(pinned.cpu) >= kMaxCpus) {
      return invalid_input("workload: cpu{} is beyond the {} CPUs that x86-64 Linux can have", pinned.cpu, kMaxCpus);
    }
    if (!seen.insert(pinned.cpu).second) return invalid_input("workload: cpu{} has more than one", pinned.cpu);
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> encode_config(const Config& config) {
  TRY(check(config));
  v1::Config message;
  message.set_capture_command_line(config.capture_command_line);
  for (const PinnedWorkload& pinned : config.workloads) {
    v1::Config::Workload& workload = *message.add_workloads();
    workload.set_cpu(index(pinned.cpu));
    workload.set_name(std::string(pinned.workload->name));
  }
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
  for (const v1::Config::Workload& workload : message.workloads()) {
    const Workload* known = find_workload(workload.name());
    if (known == nullptr)
      return invalid_input("workload: cpu{}: no workload is called '{}'", workload.cpu(), workload.name());
    config.workloads.push_back({VcpuId{workload.cpu()}, known});
  }
  TRY(check(config));
  return config;
}

}  // namespace panicroom::agent
