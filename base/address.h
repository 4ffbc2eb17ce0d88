// Strong types for what is easily confused: guest-virtual and guest-physical addresses, link-time addresses, vCPU
// numbers.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>

namespace panicroom {

namespace detail {
template <typename Tag>
struct Address {
  std::uint64_t value = 0;

  friend constexpr auto operator<=>(Address, Address) = default;  // NOLINT(modernize-use-nullptr): it is none.
  friend constexpr Address operator+(Address a, std::uint64_t bytes) { return {a.value + bytes}; }
  friend constexpr Address operator-(Address a, std::uint64_t bytes) { return {a.value - bytes}; }
  // The distance in bytes; wraps as unsigned arithmetic does.
  friend constexpr std::uint64_t operator-(Address a, Address b) { return a.value - b.value; }
};
}  // namespace detail

// A guest-virtual address: where the running kernel has a thing, KASLR slide included.
using Gva = detail::Address<struct GvaTag>;
// A guest-physical address.
using Gpa = detail::Address<struct GpaTag>;
// Where the kernel image says that a thing is: the address in its symbol table, before KASLR.
using LinkAddress = detail::Address<struct LinkAddressTag>;

// How far KASLR moved the kernel's text: running address = link address + slide (modulo 2^64).
struct KaslrSlide {
  std::uint64_t bytes = 0;
  friend constexpr auto operator<=>(KaslrSlide, KaslrSlide) = default;
};

constexpr Gva operator+(LinkAddress address, KaslrSlide slide) { return {address.value + slide.bytes}; }
constexpr LinkAddress unslide(Gva address, KaslrSlide slide) { return {address.value - slide.bytes}; }

// A guest CPU by the number that the scenario and the guest kernel (smp_processor_id()) give it, from 0.
enum class VcpuId : std::uint32_t {};
constexpr std::uint32_t index(VcpuId vcpu) { return static_cast<std::uint32_t>(vcpu); }

}  // namespace panicroom

template <typename Tag>
struct fmt::formatter<panicroom::detail::Address<Tag>> : fmt::formatter<std::string_view> {
  auto format(panicroom::detail::Address<Tag> address, fmt::format_context& context) const {
    return fmt::format_to(context.out(), "{:#018x}", address.value);
  }
};
template <>
struct fmt::formatter<panicroom::VcpuId> : fmt::formatter<std::uint32_t> {
  auto format(panicroom::VcpuId vcpu, fmt::format_context& context) const {
    return fmt::formatter<std::uint32_t>::format(panicroom::index(vcpu), context);
  }
};
