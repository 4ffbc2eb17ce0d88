// The machine's physical memory, as a running kernel tells it in /proc/iomem.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace panicroom::kexec {

// [begin, end)
struct PhysicalRange {
  Gpa begin;
  Gpa end;

  [[nodiscard]] std::uint64_t size() const { return end - begin; }
  friend bool operator==(const PhysicalRange&, const PhysicalRange&) = default;
};

// Each list in ascending order.
struct PhysicalMap {
  std::vector<PhysicalRange> ram;           // "System RAM", with all that lies in it.
  std::vector<PhysicalRange> crash_memory;  // "Crash kernel": what crashkernel= has reserved.
  std::vector<PhysicalRange> acpi_tables;
  std::vector<PhysicalRange> acpi_storage;  // "ACPI Non-volatile Storage".
  std::vector<PhysicalRange> reserved;
};

// Of all kinds together; machines have some tens.
inline constexpr std::size_t kMaxPhysicalRanges = 4096;

// kInvalidInput, with the line, if it is not such a text; and if it tells no addresses, as it does to whom may not see
// them.
Result<PhysicalMap> parse_iomem(std::string_view text);

// What is left of the ranges without `hole`.
std::vector<PhysicalRange> without(const std::vector<PhysicalRange>& ranges, const PhysicalRange& hole);
// What of the ranges lies in `window`.
std::vector<PhysicalRange> within(const std::vector<PhysicalRange>& ranges, const PhysicalRange& window);

}  // namespace panicroom::kexec
