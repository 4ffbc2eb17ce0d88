#include "harness/doctor/kvm_probe.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <optional>
#include <system_error>

#include "base/file.h"
#include "base/result.h"
#include "harness/doctor/guest_loop.h"

namespace panicroom::harness {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kKvmApiVersion = 12;  // Documentation/virt/kvm/api.rst, 4.1: the only one there is.
constexpr auto kEnough = std::chrono::milliseconds(60);
constexpr std::uint32_t kManyRounds = 1'000'000;  // The host stops the guest long before.

// What this thread has used of a CPU. KVM_RUN runs the guest in the thread that calls it.
std::chrono::nanoseconds cpu_time() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

class Mapping {
 public:
  Mapping(std::size_t length, int flags, int fd)
      : length_(length), address_(::mmap(nullptr, length, PROT_READ | PROT_WRITE, flags, fd, 0)) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (*this) ::munmap(address_, length_);
  }
  explicit operator bool() const { return address_ != MAP_FAILED; }
  [[nodiscard]] void* get() const { return address_; }
  [[nodiscard]] std::size_t length() const { return length_; }

 private:
  std::size_t length_;
  void* address_;
};

// Interrupts this thread's KVM_RUN again and again while it lives, so that a deadline is looked at. A signal that comes
// just before KVM_RUN is not lost for long: the next one follows.
class Ticker {
 public:
  static constexpr long kPeriodNs = 20'000'000;

  Ticker() {
    struct sigaction action = {};
    action.sa_handler = [](int) {};  // No SA_RESTART: KVM_RUN is to fail with EINTR.
    ::sigaction(signal_number(), &action, &old_action_);
    ::sigset_t ours;
    ::sigemptyset(&ours);
    ::sigaddset(&ours, signal_number());
    ::pthread_sigmask(SIG_UNBLOCK, &ours, &old_mask_);
    ::sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = signal_number();
    event._sigev_un._tid = static_cast<int>(::syscall(SYS_gettid));
    armed_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
    const ::itimerspec period = {{0, kPeriodNs}, {0, kPeriodNs}};
    if (armed_ && ::timer_settime(timer_, 0, &period, nullptr) != 0) {
      ::timer_delete(timer_);
      armed_ = false;
    }
  }
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;
  ~Ticker() {
    if (armed_) ::timer_delete(timer_);
    ::pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
    ::sigaction(signal_number(), &old_action_, nullptr);
  }
  [[nodiscard]] bool armed() const { return armed_; }

 private:
  static int signal_number() { return SIGRTMAX - 2; }

  struct sigaction old_action_ = {};
  ::sigset_t old_mask_ = {};
  ::timer_t timer_ = {};
  bool armed_ = false;
};

std::string exit_text(const kvm_run& run) {
  switch (run.exit_reason) {
    case KVM_EXIT_HLT:
      return "the guest halted";
    case KVM_EXIT_SHUTDOWN:
      return "the guest shut down (triple fault)";
    case KVM_EXIT_FAIL_ENTRY:
      return fmt::format("the CPU refused to enter the guest (hardware reason {:#x})",
                         static_cast<std::uint64_t>(run.fail_entry.hardware_entry_failure_reason));
    case KVM_EXIT_INTERNAL_ERROR:
      return fmt::format("KVM reported an internal error (suberror {})", static_cast<unsigned>(run.internal.suberror));
    default:
      return fmt::format("KVM stopped with the unexpected exit reason {}", static_cast<unsigned>(run.exit_reason));
  }
}

bool is_mark(const kvm_run& run) {
  return run.exit_reason == KVM_EXIT_IO && run.io.direction == KVM_EXIT_IO_OUT && run.io.port == kMarkPort;
}

// Instructions per second between the marks.
Result<double> time_rounds(int vcpu, const kvm_run& run, std::chrono::milliseconds limit) {
  const Ticker ticker;
  if (!ticker.armed()) return host_error("no timer to bound the measurement with");
  const auto deadline = Clock::now() + limit;
  std::optional<std::chrono::nanoseconds> first;
  double rounds = 0;
  while (true) {
    const int status = ::ioctl(vcpu, KVM_RUN, 0);
    const int error = errno;
    const bool late = Clock::now() >= deadline;
    if (status != 0) {
      if (error != EINTR && error != EAGAIN) return errno_error(error, "KVM_RUN");
      if (!late) continue;
      if (rounds > 0) {
        return rounds * kInstructionsPerRound / std::chrono::duration<double>(cpu_time() - *first).count();
      }
      return host_error("the guest loop did not get through one round of {} instructions in {} ms",
                        kInstructionsPerRound, limit.count());
    }
    if (!is_mark(run)) return host_error("{}", exit_text(run));
    if (!first) {
      first = cpu_time();
      continue;
    }
    ++rounds;
    const auto elapsed = cpu_time() - *first;
    if (elapsed >= kEnough || late) {
      return rounds * kInstructionsPerRound / std::chrono::duration<double>(elapsed).count();
    }
  }
}

Result<double> run_guest(int kvm, std::chrono::milliseconds limit) {
  const int version = ::ioctl(kvm, KVM_GET_API_VERSION, 0);
  if (version < 0) return errno_error(errno, "it is no KVM device: KVM_GET_API_VERSION");
  if (version != kKvmApiVersion) return host_error("its API version is {}, not {}", version, kKvmApiVersion);
  const UniqueFd vm(::ioctl(kvm, KVM_CREATE_VM, 0));
  if (!vm) return errno_error(errno, "KVM_CREATE_VM");
  // Intel CPUs that cannot run real mode natively want three pages for it (api.rst, 4.3); others do not mind.
  constexpr unsigned long kTssAddress = 0xfffbd000;
  (void)::ioctl(vm.get(), KVM_SET_TSS_ADDR, kTssAddress);

  const Mapping memory(kGuestRomBytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (!memory) return errno_error(errno, "mmap of the guest's memory");
  const auto rom = guest_rom(kManyRounds);
  std::memcpy(memory.get(), rom.data(), rom.size());
  kvm_userspace_memory_region region = {};
  region.guest_phys_addr = kGuestRomAddress;
  region.memory_size = memory.length();
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(memory.get());
  if (::ioctl(vm.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0) {
    return errno_error(errno, "KVM_SET_USER_MEMORY_REGION");
  }

  const UniqueFd vcpu(::ioctl(vm.get(), KVM_CREATE_VCPU, 0));
  if (!vcpu) return errno_error(errno, "KVM_CREATE_VCPU");
  const int run_size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < static_cast<int>(sizeof(kvm_run))) return host_error("KVM_GET_VCPU_MMAP_SIZE gave {}", run_size);
  const Mapping run(static_cast<std::size_t>(run_size), MAP_SHARED, vcpu.get());
  if (!run) return errno_error(errno, "mmap of the vCPU");
  return time_rounds(vcpu.get(), *static_cast<const kvm_run*>(run.get()), limit);
}

}  // namespace

KvmProbe probe_kvm(const std::filesystem::path& device, std::chrono::milliseconds limit) {
  KvmProbe probe;
  const UniqueFd kvm(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  const int error = errno;
  if (!kvm) {
    probe.present = error != ENOENT;
    if (!probe.present) {
      probe.finding = fmt::format(
          "there is no {}: the CPU's virtualisation is off in the firmware, or this is a virtual machine or container "
          "without it; on real hardware try: sudo modprobe -a kvm_intel kvm_amd",
          device.native());
    } else if (error == EACCES || error == EPERM) {
      probe.finding =
          fmt::format("this user may not open {}: sudo usermod -aG kvm $USER, then log in again", device.native());
    } else {
      probe.finding = fmt::format("{} cannot be opened: {}", device.native(), std::generic_category().message(error));
    }
    return probe;
  }
  probe.present = true;
  probe.opened = true;
  const auto measured = run_guest(kvm.get(), limit);
  if (!measured) {
    probe.finding = fmt::format("{} cannot run the guest loop: {}", device.native(), measured.error().message());
    return probe;
  }
  probe.ran = true;
  probe.cpl0_instructions_per_second = *measured;
  probe.finding = fmt::format("{} runs guest kernel code", device.native());
  return probe;
}

}  // namespace panicroom::harness
