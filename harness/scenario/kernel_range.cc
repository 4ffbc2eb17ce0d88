#include "harness/scenario/kernel_range.h"

#include <charconv>

namespace panicroom::harness {

KernelVersion version_of(std::string_view release) {
  KernelVersion parts{};
  const char* at = release.data();
  const char* const end = at + release.size();
  for (std::uint32_t& part : parts) {
    const auto [next, error] = std::from_chars(at, end, part);
    if (error != std::errc{} || next == end || *next != '.') break;
    at = next + 1;
  }
  return parts;
}

bool KernelRange::contains(const KernelVersion& version) const {
  return (!at_least || version >= version_of(*at_least)) && (!below || version < version_of(*below));
}

}  // namespace panicroom::harness
