// /dev/kvm: opened, of the right version, with what the engine cannot do without. Documentation/virt/kvm/api.rst is
// meant wherever a KVM ioctl or capability is named in this folder.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace panicroom::kvm {

// ioctl(2), again when a signal came between. `argument` is a pointer or a number, as the request wants it.
template <typename Argument>
int call(int fd, unsigned long request, Argument argument) {
  int status = 0;
  do {
    status = ::ioctl(fd, request, argument);
  } while (status < 0 && errno == EINTR);
  return status;
}

// Memory that mmap() gave; unmapped with it. Movable.
class Mapping {
 public:
  Mapping() = default;
  static Result<Mapping> of(int fd, std::size_t length, std::string_view what);
  static Result<Mapping> anonymous(std::size_t length);
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  template <typename T>
  [[nodiscard]] T* as() const {
    return reinterpret_cast<T*>(bytes_.data());
  }

 private:
  explicit Mapping(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

// Immutable once open; any thread may use it. A machine that has been made needs it no more. Movable.
class KvmDevice {
 public:
  // kUnsupported if the device is not there, may not be opened, or lacks what the engine needs; the message names what
  // mends it.
  static Result<KvmDevice> open(const std::filesystem::path& path = "/dev/kvm");

  [[nodiscard]] int fd() const { return fd_.get(); }
  // What KVM_CHECK_EXTENSION answers: 0 if KVM has not got it.
  [[nodiscard]] int extension(unsigned long capability) const;
  [[nodiscard]] std::size_t run_size() const { return run_size_; }
  // KVM_GET_SUPPORTED_CPUID.
  [[nodiscard]] const std::vector<kvm_cpuid_entry2>& supported_cpuid() const { return cpuid_; }
  // KVM_GET_MSR_INDEX_LIST: what a vCPU's state consists of beside its registers.
  [[nodiscard]] const std::vector<std::uint32_t>& msr_indices() const { return msrs_; }

 private:
  KvmDevice() = default;
  Result<> read_cpuid();
  Result<> read_msr_indices();

  UniqueFd fd_;
  std::size_t run_size_ = 0;
  std::vector<kvm_cpuid_entry2> cpuid_;
  std::vector<std::uint32_t> msrs_;
};

}  // namespace panicroom::kvm
