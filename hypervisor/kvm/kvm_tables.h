// KVM's structures that end in an array of no stated length. In C++ <linux/kvm.h> gives them another size and layout
// than in C, and with the size another ioctl number, so they are laid out here as the kernel's C has them.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace panicroom::kvm {

namespace detail {
// The size of the part before the array, by which the ioctl's number is made.
constexpr unsigned long number(unsigned direction, unsigned code, unsigned header_size) {
  return _IOC(direction, static_cast<unsigned>(KVMIO), code, header_size);
}
}  // namespace detail

inline constexpr unsigned long kGetMsrIndexList = detail::number(_IOC_READ | _IOC_WRITE, 0x02, 4);
inline constexpr unsigned long kGetSupportedCpuid = detail::number(_IOC_READ | _IOC_WRITE, 0x05, 8);
inline constexpr unsigned long kSetCpuid2 = detail::number(_IOC_WRITE, 0x90, 8);
inline constexpr unsigned long kGetMsrs = detail::number(_IOC_READ | _IOC_WRITE, 0x88, 8);
inline constexpr unsigned long kSetMsrs = detail::number(_IOC_WRITE, 0x89, 8);
// struct kvm_xsave: a page, and what XSAVE needs beyond it.
inline constexpr std::size_t kXsaveBytes = 4096;
inline constexpr unsigned long kGetXsave2 = detail::number(_IOC_READ, 0xcf, kXsaveBytes);
inline constexpr unsigned long kSetXsave = detail::number(_IOC_WRITE, 0xa5, kXsaveBytes);

// A count, then for some of them four bytes of padding, then the entries.
template <typename Entry, std::size_t kHeaderSize>
class Table {
 public:
  explicit Table(std::size_t entries) : bytes_(kHeaderSize + entries * sizeof(Entry)) { set_count(entries); }
  explicit Table(std::span<const Entry> entries) : Table(entries.size()) {
    if (!entries.empty()) std::memcpy(bytes_.data() + kHeaderSize, entries.data(), entries.size_bytes());
  }

  // For the ioctl.
  void* argument() { return bytes_.data(); }
  // As many as the header says now, and at most as many as there is room for.
  [[nodiscard]] std::vector<Entry> entries() const {
    std::uint32_t count = 0;
    std::memcpy(&count, bytes_.data(), sizeof(count));
    std::vector<Entry> entries(std::min<std::size_t>(count, (bytes_.size() - kHeaderSize) / sizeof(Entry)));
    if (!entries.empty()) std::memcpy(entries.data(), bytes_.data() + kHeaderSize, entries.size() * sizeof(Entry));
    return entries;
  }

 private:
  void set_count(std::size_t entries) {
    const auto count = static_cast<std::uint32_t>(entries);
    std::memcpy(bytes_.data(), &count, sizeof(count));
  }

  std::vector<std::byte> bytes_;
};

using CpuidTable = Table<kvm_cpuid_entry2, 8>;
using MsrTable = Table<kvm_msr_entry, 8>;
using MsrIndexTable = Table<std::uint32_t, 4>;

}  // namespace panicroom::kvm
