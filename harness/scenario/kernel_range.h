// Which kernel versions something is about: `">=5.10"`, `"<6.6"`, or both.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace panicroom::harness {

// Compared number by number; what is left out is 0.
using KernelVersion = std::array<std::uint32_t, 3>;
// Of a release, "6.1.0-56-cloud-amd64" → {6, 1, 0}. What is no version ends it.
KernelVersion version_of(std::string_view release);

// From a version on, and below another; neither: every kernel.
struct KernelRange {
  std::optional<std::string> at_least;  // "5.10"
  std::optional<std::string> below;

  [[nodiscard]] bool contains(const KernelVersion& version) const;
  friend bool operator==(const KernelRange&, const KernelRange&) = default;
};

}  // namespace panicroom::harness
