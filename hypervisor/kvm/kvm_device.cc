#include "hypervisor/kvm/kvm_device.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cstring>
#include <utility>

#include "hypervisor/kvm/kvm_tables.h"

namespace panicroom::kvm {
namespace {

constexpr int kApiVersion = 12;  // 4.1: the only one there is.

struct Needed {
  unsigned long capability;
  std::string_view name;
};
constexpr std::array kNeeded{
    Needed{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    Needed{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    Needed{KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG"},
    Needed{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    Needed{KVM_CAP_USER_NMI, "KVM_CAP_USER_NMI"},
    Needed{KVM_CAP_SYNC_MMU, "KVM_CAP_SYNC_MMU"},
    Needed{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR"},
    Needed{KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER"},
    Needed{KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS"},
    Needed{KVM_CAP_XSAVE2, "KVM_CAP_XSAVE2"},
    Needed{KVM_CAP_X86_TRIPLE_FAULT_EVENT, "KVM_CAP_X86_TRIPLE_FAULT_EVENT"},
};

Error cannot_open(const std::filesystem::path& path, int error) {
  if (error == ENOENT || error == ENODEV || error == ENXIO) {
    return unsupported("there is no {}: this host has no KVM; on real hardware try: sudo modprobe -a kvm_intel kvm_amd",
                       path.native());
  }
  if (error == EACCES || error == EPERM) {
    return unsupported("this user may not open {}: sudo usermod -aG kvm $USER, then log in again", path.native());
  }
  return unsupported("opening {}: {}", path.native(), std::strerror(error));
}

}  // namespace

Result<Mapping> Mapping::of(int fd, std::size_t length, std::string_view what) {
  void* at = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return errno_error(errno, what);
  return Mapping(std::span(static_cast<std::byte*>(at), length));
}

Result<Mapping> Mapping::anonymous(std::size_t length) {
  void* at = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return errno_error(errno, "mapping memory");
  return Mapping(std::span(static_cast<std::byte*>(at), length));
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

Result<KvmDevice> KvmDevice::open(const std::filesystem::path& path) {
  KvmDevice device;
  device.fd_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!device.fd_) return cannot_open(path, errno);
  const int version = call(device.fd(), KVM_GET_API_VERSION, 0);
  if (version != kApiVersion)
    return unsupported("{} has the API version {}, not {}", path.native(), version, kApiVersion);
  for (const auto& needed : kNeeded) {
    if (device.extension(needed.capability) <= 0) {
      return unsupported("{} lacks {}: a newer host kernel has it", path.native(), needed.name);
    }
  }
  const int size = call(device.fd(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (size < static_cast<int>(sizeof(kvm_run))) return host_error("KVM_GET_VCPU_MMAP_SIZE gave {}", size);
  device.run_size_ = static_cast<std::size_t>(size);
  TRY(device.read_cpuid());
  TRY(device.read_msr_indices());
  return device;
}

int KvmDevice::extension(unsigned long capability) const { return call(fd(), KVM_CHECK_EXTENSION, capability); }

Result<> KvmDevice::read_cpuid() {
  CpuidTable table(512);
  if (call(fd(), kGetSupportedCpuid, table.argument()) < 0) return errno_error(errno, "KVM_GET_SUPPORTED_CPUID");
  cpuid_ = table.entries();
  return {};
}

Result<> KvmDevice::read_msr_indices() {
  MsrIndexTable table(4096);
  if (call(fd(), kGetMsrIndexList, table.argument()) < 0) return errno_error(errno, "KVM_GET_MSR_INDEX_LIST");
  msrs_ = table.entries();
  return {};
}

}  // namespace panicroom::kvm
