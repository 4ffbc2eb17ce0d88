// How a KvmMachine comes to be, and its end.
#include <fmt/format.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <memory>
#include <mutex>

#include "hypervisor/kvm/boot/acpi_tables.h"
#include "hypervisor/kvm/boot/linux_boot.h"
#include "hypervisor/kvm/cpuid.h"
#include "hypervisor/kvm/kvm_machine.h"
#include "hypervisor/kvm/segments.h"
#include "hypervisor/kvm/vcpu_signal.h"

namespace panicroom::kvm {
namespace {

constexpr std::uint64_t kLeastMemory = 1U << 20;

// Intel SDM Vol. 3A, 2.5 and 4.1; Linux' boot protocol asks for paging and long mode.
constexpr std::uint64_t kCr0 = 0x80000033;  // PG, NE, ET, MP, PE
constexpr std::uint64_t kCr4 = 0x20;        // PAE
constexpr std::uint64_t kEfer = 0x500;      // LMA, LME

Result<> check_pins(const std::vector<std::uint32_t>& pin, std::uint32_t vcpus) {
  if (pin.empty()) return {};
  if (pin.size() != vcpus) return invalid_input("{} host CPUs to pin {} vCPUs to", pin.size(), vcpus);
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return errno_error(errno, "asking for the host's CPUs");
  for (const auto cpu : pin) {
    if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed)) {
      return invalid_input("host CPU {} is not there, or this process may not run on it", cpu);
    }
  }
  return {};
}

// The first time in a process with the guest that was asked.
Result<HostProbe> probe_once(const KvmDevice& device) {
  static std::mutex mutex;
  static std::optional<HostQuirks> found;
  const std::lock_guard lock(mutex);
  if (found) return HostProbe{.quirks = *found, .guest = nullptr};
  auto probe = TRY_CONTEXT("finding out what this host's KVM does", probe_host(device));
  found = probe.quirks;
  return probe;
}

}  // namespace

Result<> usable() {
  TRY(KvmDevice::open());
  return {};
}

Result<HostQuirks> quirks_of_host() { return TRY(probe_once(TRY(KvmDevice::open()))).quirks; }

Result<std::unique_ptr<KvmMachine>> KvmMachine::create(const hypervisor::MachineConfig& config,
                                                       const KvmOptions& options) {
  std::unique_ptr<KvmMachine> machine(new KvmMachine());
  auto started = machine->start(config, options);
  if (started) return machine;
  return std::move(started).error().with_context(fmt::format("machine {}", config.name));
}

Result<> KvmMachine::check_config(const hypervisor::MachineConfig& config) const {
  if (config.vcpus < 1 || config.vcpus > kMaxVcpus) {
    return invalid_input("{} vCPUs: a machine has 1 to {}", config.vcpus, kMaxVcpus);
  }
  if (config.memory_bytes < kLeastMemory || config.memory_bytes % kLeastMemory != 0) {
    return invalid_input("{} bytes of memory: it must be a multiple of a mebibyte", config.memory_bytes);
  }
  return check_pins(config.pin, config.vcpus);
}

Result<> KvmMachine::start(const hypervisor::MachineConfig& config, const KvmOptions& options) {
  options_ = options;
  TRY(check_config(config));
  TRY(prepare_vcpu_signal());
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  cancel_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_ || !cancel_) return errno_error(errno, "making an eventfd");
  const auto device = TRY(KvmDevice::open());
  // Beside what does not depend on it: the probe is most of the time to a first machine.
  auto probing = std::async(std::launch::async, [&device] { return probe_once(device); });
  vm_.emplace(TRY(Vm::create(device)));
  memory_.emplace(TRY(GuestMemory::create(config.memory_bytes)));
  for (const auto& slot : memory_->slots()) TRY(vm_->add_memory(slot.begin, std::span(slot.host, slot.size)));
  for (std::uint32_t i = 0; i < config.vcpus; ++i) {
    runners_.push_back(std::make_unique<Runner>(VcpuId{i}, TRY(Vcpu::create(device, vm_->fd(), i))));
  }
  auto probe = TRY(probing.get());
  quirks_ = probe.quirks;
  probe_guest_ = std::move(probe.guest);
  for (auto& runner : runners_) {
    TRY(runner->vcpu.set_cpuid(cpuid_of(runner->id, config.vcpus, device.supported_cpuid(), quirks_)));
  }
  TRY(make_clock());
  TRY(enter_kernel(config));
  return start_threads(config.pin);
}

Result<> KvmMachine::make_clock() {
  const auto tsc_khz = TRY(runners_.front()->vcpu.tsc_khz());
  std::vector<Vcpu*> vcpus;
  for (auto& runner : runners_) vcpus.push_back(&runner->vcpu);
  fabric_.emplace(this->vcpus(), tsc_khz);
  return clock_.begin(std::move(vcpus), tsc_khz);
}

Result<> KvmMachine::enter_kernel(const hypervisor::MachineConfig& config) {
  auto& boot = runners_.front()->vcpu;
  initial_sregs_ = TRY(boot.sregs());
  BootRequest request;
  request.kernel = config.kernel;
  request.initramfs = config.initramfs;
  request.cmdline = config.cmdline;
  request.vcpus = config.vcpus;
  request.unpack_bzimage = quirks_.emulates_kernel_code;
  // The guest has neither a timer that it could measure its counter by, nor need it: the counter's pace is known.
  if (!request.cmdline.empty()) request.cmdline += fmt::format(" tsc_early_khz={}", clock_.tsc_khz());
  if (::getrandom(request.rng_seed.data(), request.rng_seed.size(), 0) !=
      static_cast<ssize_t>(request.rng_seed.size())) {
    return errno_error(errno, "reading random numbers for the guest");
  }
  const auto entry = TRY(load_kernel(*memory_, request));

  auto sregs = initial_sregs_;
  sregs.cs = long_mode_code(entry.code_selector, 0);
  sregs.ds = sregs.es = sregs.ss = data_segment(entry.data_selector, 0);
  sregs.fs = sregs.gs = sregs.ds;
  sregs.tr = task_segment(0, 0);
  sregs.gdt.base = entry.gdt_base;
  sregs.gdt.limit = entry.gdt_limit;
  sregs.idt.base = 0;
  sregs.idt.limit = 0;
  sregs.cr0 = kCr0;
  sregs.cr3 = entry.cr3;
  sregs.cr4 = kCr4;
  sregs.efer = kEfer;
  TRY(boot.set_sregs(sregs));
  kvm_regs regs = {};
  regs.rip = entry.rip;
  regs.rsi = entry.rsi;
  regs.rsp = entry.rsp;
  regs.rflags = hypervisor::kRflagsFixed;
  return boot.set_regs(regs);
}

Result<> KvmMachine::start_threads(const std::vector<std::uint32_t>& pin) {
  Lock lock(mutex_);
  for (auto& runner : runners_) {
    auto& one = *runner;
    one.thread = std::thread([this, &one] {
      {
        const Lock own(mutex_);
        one.tid = static_cast<pid_t>(::syscall(SYS_gettid));
      }
      parked_.notify_all();
      loop(one);
    });
    ::pthread_setname_np(one.thread.native_handle(), fmt::format("vcpu {}", one.id).c_str());
    parked_.wait(lock, [&] { return one.tid != 0; });
    if (pin.empty()) continue;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(pin[index(one.id)], &cpus);
    if (const int error = ::pthread_setaffinity_np(one.thread.native_handle(), sizeof(cpus), &cpus); error != 0) {
      return errno_error(error, fmt::format("pinning vCPU {} to the host's CPU {}", one.id, pin[index(one.id)]));
    }
  }
  clockwork_ = std::thread([this] { clockwork(); });
  ::pthread_setname_np(clockwork_.native_handle(), "clockwork");
  return {};
}

Result<> KvmMachine::destroy() {
  {
    const Lock lock(mutex_);
    if (destroyed_) return {};
    destroyed_ = true;
    quit_ = true;
    running_ = false;
    for (auto& runner : runners_) {
      runner->task = Task::kQuit;
      kick(*runner);
    }
    clockwork_wake_.notify_one();
  }
  for (auto& runner : runners_) {
    if (runner->thread.joinable()) runner->thread.join();
  }
  if (clockwork_.joinable()) clockwork_.join();
  // The vCPUs before the memory that they execute from; what can still be asked of the machine says that it is gone.
  snapshots_.clear();
  memory_.reset();
  return {};
}

KvmMachine::~KvmMachine() { static_cast<void>(destroy()); }

}  // namespace panicroom::kvm
