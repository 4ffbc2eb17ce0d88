// How a QemuMachine comes to be, and its end.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/subprocess.h"
#include "hypervisor/qemu/qemu_machine.h"

namespace panicroom::qemu {
namespace {

namespace fs = std::filesystem;

// Local APIC IDs are 8 bits wide in xAPIC mode, and 255 is the broadcast.
constexpr std::uint32_t kMostVcpus = 255;
// Where the processor fetches its first instruction (SDM Vol. 3, 10.1.4).
constexpr Gva kResetVector{0xfffffff0};

Result<> make_snapshot_disk(const fs::path& path) {
  // Small: what a snapshot needs is added at the image's end.
  const auto made = TRY(run_process({"qemu-img", "create", "-q", "-f", "qcow2", path.native(), "1M"}));
  if (made.exit_status != 0) {
    return host_error("making the snapshot disk {}: qemu-img (package qemu-utils): {}{}", path.native(), made.err,
                      made.out);
  }
  return {};
}

// A snapshot is read in pieces of 32 KiB, and each costs QEMU's threads two switches: with io_uring a restore takes
// half the time. A host may lack it, or forbid it (kernel.io_uring_disabled).
bool host_has_io_uring() {
  io_uring_params parameters{};
  const UniqueFd ring(static_cast<int>(::syscall(__NR_io_uring_setup, 1, &parameters)));
  return static_cast<bool>(ring);
}

}  // namespace

Result<std::shared_ptr<MonitorEvents>> MonitorEvents::create() {
  auto events = std::make_shared<MonitorEvents>();
  events->wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!events->wake_) return errno_error(errno, "making an eventfd");
  return events;
}

void MonitorEvents::report(std::string_view event) {
  {
    const std::lock_guard lock(mutex_);
    if (event == "RESET") ++resets_;
  }
  static_cast<void>(::eventfd_write(wake_.get(), 1));
}

void MonitorEvents::take_wake() {
  eventfd_t ignored = 0;
  static_cast<void>(::eventfd_read(wake_.get(), &ignored));
}

unsigned MonitorEvents::take_resets() {
  const std::lock_guard lock(mutex_);
  return std::exchange(resets_, 0);
}

Result<std::unique_ptr<QemuMachine>> QemuMachine::create(const hypervisor::MachineConfig& config,
                                                         const QemuOptions& options) {
  std::unique_ptr<QemuMachine> machine(new QemuMachine());
  auto started = machine->start(config, options);
  if (started) return machine;
  auto error = std::move(started).error();
  const auto words = machine->domain_ ? machine->domain_->last_words() : std::string();
  if (!words.empty()) error = host_error("{}; QEMU's last words: {}", error.message(), words);
  return std::move(error).with_context(fmt::format("machine {}", config.name));
}

Result<> QemuMachine::check_config(const hypervisor::MachineConfig& config) const {
  if (config.vcpus < 1 || config.vcpus > kMostVcpus) {
    return invalid_input("{} vCPUs: a machine has 1 to {}", config.vcpus, kMostVcpus);
  }
  if (!config.pin.empty() && config.pin.size() != config.vcpus) {
    return invalid_input("{} host CPUs to pin {} vCPUs to", config.pin.size(), config.vcpus);
  }
  constexpr std::uint64_t kLeastMemory = 1U << 20;
  if (config.memory_bytes < kLeastMemory || config.memory_bytes % kLeastMemory != 0) {
    return invalid_input("{} bytes of memory: it must be a multiple of a mebibyte", config.memory_bytes);
  }
  for (const auto& path : {config.kernel, config.initramfs}) {
    if (!path.empty() && ::access(path.c_str(), R_OK) != 0) {
      auto error = errno_error(errno, path.native());
      return invalid_input("{}", error.message());
    }
  }
  if (config.kernel.empty()) return invalid_input("no kernel");
  return {};
}

Result<> QemuMachine::start(const hypervisor::MachineConfig& config, const QemuOptions& options) {
  TRY(check_config(config));
  options_ = options;
  ram_pieces_ = ram_of_pc(config.memory_bytes);
  vcpus_.resize(config.vcpus);
  cancel_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!cancel_) return errno_error(errno, "making an eventfd");
  monitor_ = TRY(MonitorEvents::create());
  auto connection = TRY(LibvirtConnection::open(options.state_directory));

  // Short, because it is part of socket paths; the caller's names need only differ within a run.
  static std::atomic<unsigned> count = 0;
  const auto name = fmt::format("m{}", ++count);
  sockets_ = connection->root() / name;
  TRY(make_directories(sockets_));
  disk_ = config.directory / "snapshots.qcow2";
  TRY(make_snapshot_disk(disk_));

  DomainSpec spec;
  spec.name = name;
  spec.accelerator = options.accelerator;
  spec.vcpus = config.vcpus;
  spec.memory_bytes = config.memory_bytes;
  spec.pin = config.pin;
  spec.kernel = fs::absolute(config.kernel);
  if (!config.initramfs.empty()) spec.initramfs = fs::absolute(config.initramfs);
  spec.cmdline = config.cmdline;
  spec.snapshot_disk = fs::absolute(disk_);
  spec.console_socket = sockets_ / "console";
  spec.agent_socket = sockets_ / "agent";
  spec.gdb_socket = sockets_ / "gdb";
  spec.io_uring = host_has_io_uring();
  const auto create = [&] {
    return Domain::create(connection, spec, options.start_patience,
                          [monitor = monitor_](std::string_view event) { monitor->report(event); });
  };
  auto domain = create();
  if (!domain && spec.io_uring) {
    // Not every QEMU is built with it. What else was wrong is wrong again.
    spec.io_uring = false;
    domain = create();
  }
  domain_ = TRY(std::move(domain));
  console_ = TRY(OutputStream::connect(spec.console_socket));
  agent_ = TRY(OutputStream::connect(spec.agent_socket));
  TRY(connect_stub());
  if (stub_->vcpu_count() != config.vcpus) {
    return host_error("QEMU has {} vCPUs, but should have {}", stub_->vcpu_count(), config.vcpus);
  }
  threads_ = TRY(domain_->vcpu_threads());
  if (options.look_into_qemu) TRY(find_ram());
  TRY(check_pins(config.pin));
  if (options.accelerator == Accelerator::kTcg) TRY(want_breakpoint(kResetVector));
  on_reset();
  return {};
}

Result<> QemuMachine::connect_stub() {
  rsp::ClientConfig config;
  config.reply_timeout = options_.patience;
  // An instruction takes microseconds; what reaches this is a HLT that waits, and a step on a busy host is repeated.
  config.step_timeout = std::chrono::milliseconds(100);
  stub_ = TRY(rsp::Client::connect(sockets_ / "gdb", hypervisor::Clock::now() + options_.patience, config));
  return {};
}

Result<> QemuMachine::find_ram() {
  std::vector<GuestRam::Mapped> mapped;
  for (const auto& piece : ram_pieces_) {
    const auto answer = TRY(domain_->hmp(fmt::format("gpa2hva {:#x}", piece.begin.value)));
    const auto host = parse_gpa2hva(answer);
    if (!host) return host_error("QEMU's monitor answered gpa2hva with `{}`", answer);
    mapped.push_back({piece, *host});
  }
  ram_.emplace(domain_->pid(), std::move(mapped));
  return {};
}

Result<> QemuMachine::check_pins(const std::vector<std::uint32_t>& pin) const {
  for (std::size_t vcpu = 0; vcpu < pin.size(); ++vcpu) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (vcpu >= threads_.size() || ::sched_getaffinity(threads_[vcpu], sizeof(allowed), &allowed) != 0) {
      return errno_error(errno, fmt::format("reading where vCPU {} may run", vcpu));
    }
    if (CPU_COUNT(&allowed) != 1 || !CPU_ISSET(pin[vcpu], &allowed)) {
      return host_error("vCPU {} could not be pinned to host CPU {}", vcpu, pin[vcpu]);
    }
  }
  return {};
}

Result<> QemuMachine::destroy() {
  if (destroyed_) return {};
  destroyed_ = true;
  running_ = false;
  if (!lost_) lost_ = host_error("the machine was destroyed");
  stub_.reset();
  Result<> result;
  if (domain_) result = domain_->destroy();
  console_.reset();
  agent_.reset();
  std::error_code ignored;
  if (!sockets_.empty()) fs::remove_all(sockets_, ignored);
  if (!disk_.empty()) fs::remove(disk_, ignored);
  return result;
}

QemuMachine::~QemuMachine() { static_cast<void>(destroy()); }

}  // namespace panicroom::qemu
