// What the engine kvm costs, as ratios of two things measured side by side: bench/README.md, kvm_ratio.py.
#include <fmt/format.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/testing/temporary_directory.h"
#include "hypervisor/kvm/kvm_machine.h"
#include "hypervisor/kvm/segments.h"
#include "hypervisor/qemu/qemu_machine.h"

namespace panicroom {
namespace {

using hypervisor::Clock;
using hypervisor::Machine;

constexpr std::uint64_t kMemory = std::uint64_t{512} << 20;

[[noreturn]] void fail(const std::string& what) {
  fmt::print(stderr, "kvm_engine: {}\n", what);
  std::exit(3);
}
template <typename T>
T need(Result<T> result) {
  if (!result) fail(result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

hypervisor::MachineConfig config_of(const std::filesystem::path& guest, const std::filesystem::path& directory) {
  hypervisor::MachineConfig config;
  config.name = "bench";
  config.vcpus = 1;
  config.memory_bytes = kMemory;
  config.kernel = guest;
  config.directory = directory;
  return config;
}

// Until the guest has written to the agent port; then stopped.
void run_until_it_writes(Machine& machine, char what) {
  need(machine.resume());
  const auto limit = Clock::now() + std::chrono::minutes(2);
  for (bool paused = false; !paused;) {
    const auto event = machine.next_event(limit);
    if (const auto* output = std::get_if<hypervisor::Output>(&event)) {
      if (output->bytes.find(what) != std::string::npos) need(machine.pause());
    } else if (std::holds_alternative<hypervisor::Paused>(event)) {
      paused = true;
    } else {
      fail(fmt::format("the guest came to event {} instead", event.index()));
    }
  }
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Seconds of a restore, after the guest has run for a while and dirtied what it does.
double restore_time(Machine& machine, int rounds) {
  need(machine.snapshot("bench"));
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    need(machine.resume());
    need(machine.pause());
    while (!std::holds_alternative<hypervisor::Paused>(machine.next_event(Clock::now() + std::chrono::minutes(1)))) {
    }
    const auto begin = Clock::now();
    need(machine.restore("bench"));
    times.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return median(times);
}

// Bytes of this process's RAM, all or of the guest's memory alone (Documentation/filesystems/proc.rst, smaps).
std::uint64_t resident(bool guest_only) {
  std::ifstream smaps("/proc/self/smaps");
  std::uint64_t total = 0;
  bool guest = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find('-') < line.find(' ') && line.find(':') > 20)
      guest = line.find("panicroom-guest") != std::string::npos;
    if (line.rfind("Rss:", 0) == 0 && (guest || !guest_only)) total += std::stoull(line.substr(4)) << 10;
  }
  return total;
}

// The same guest, and a loop around KVM_RUN that does nothing else.
double bare_exits_per_second(std::chrono::milliseconds how_long) {
  const auto device = need(kvm::KvmDevice::open());
  auto memory = need(kvm::Mapping::anonymous(0x4000));
  auto vm = need(kvm::Vm::create(device));
  need(vm.add_memory(Gpa{0}, memory.bytes()));
  auto vcpu = need(kvm::Vcpu::create(device, vm.fd(), 0));
  constexpr std::array kCode{std::byte{0xe6}, std::byte{0x80}, std::byte{0xeb}, std::byte{0xfc}};  // out %al,$0x80; jmp
  std::copy(kCode.begin(), kCode.end(), memory.bytes().begin() + 0x1000);
  auto sregs = need(vcpu.sregs());
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  need(vcpu.set_sregs(sregs));
  kvm_regs regs = {};
  regs.rip = 0x1000;
  regs.rflags = hypervisor::kRflagsFixed;
  need(vcpu.set_regs(regs));
  std::uint64_t exits = 0;
  const auto begin = Clock::now();
  while (Clock::now() - begin < how_long) {
    for (int i = 0; i < 1000; ++i, ++exits) static_cast<void>(need(vcpu.enter()));
  }
  return static_cast<double>(exits) / std::chrono::duration<double>(Clock::now() - begin).count();
}

double exits_per_second(const std::filesystem::path& guest, const std::filesystem::path& directory,
                        std::chrono::milliseconds how_long) {
  auto machine = need(kvm::KvmMachine::create(config_of(guest, directory)));
  need(machine->resume());
  const auto begin = Clock::now();
  const auto before = machine->exits();
  while (!std::holds_alternative<hypervisor::DeadlinePassed>(machine->next_event(begin + how_long))) {
  }
  return static_cast<double>(machine->exits() - before) / std::chrono::duration<double>(Clock::now() - begin).count();
}

int run(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: {} EXITS_GUEST MEMORY_GUEST ROUNDS\n", argv[0]);
    return 2;
  }
  const TemporaryDirectory directory;
  const int rounds = std::stoi(argv[3]);

  const auto before = resident(false);
  {
    auto machine = need(kvm::KvmMachine::create(config_of(argv[2], directory.path() / "kvm")));
    run_until_it_writes(*machine, '!');
    const auto guest = resident(true);
    const auto beyond = resident(false) - before - guest;
    fmt::print("resident: {:.1f} MiB beyond the guest's {} MiB (at most 5 are asked)\n",
               static_cast<double>(beyond) / (1 << 20), guest >> 20);
    const auto ours = restore_time(*machine, rounds);
    qemu::QemuOptions options;
    options.state_directory = directory.path() / "state";
    std::filesystem::create_directories(directory.path() / "qemu");
    auto other = need(qemu::QemuMachine::create(config_of(argv[2], directory.path() / "qemu"), options));
    run_until_it_writes(*other, '!');
    const auto qemus = restore_time(*other, rounds);
    fmt::print("restore of {} MiB: median {:.3f} ms, QEMU's loadvm {:.1f} ms, ratio {:.4f} (at most 0.05 is asked)\n",
               kMemory >> 20, ours * 1e3, qemus * 1e3, ours / qemus);
  }
  constexpr std::chrono::milliseconds kWhile{2000};
  const auto bare = bare_exits_per_second(kWhile);
  const auto engine = exits_per_second(argv[1], directory.path() / "exits", kWhile);
  fmt::print("exits: {:.0f} a second, a bare loop around KVM_RUN {:.0f}, ratio {:.2f}\n", engine, bare, engine / bare);
  return 0;
}

}  // namespace
}  // namespace panicroom

int main(int argc, char** argv) { return panicroom::run(argc, argv); }
