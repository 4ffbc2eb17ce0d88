// The ACPI tables from which a kernel learns of its CPUs, its interrupt controllers and how to turn the machine off:
// RSDP, XSDT, FADT, FACS, DSDT and MADT of ACPI 6.5, chapter 5.2. Leaves out everything else that ACPI could describe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace panicroom::kvm {

// Where the tables lie: in the BIOS's read-only area, which a kernel without boot_params to tell it searches for the
// RSDP (ACPI 6.5, 5.2.5.1). The RSDP is their first byte.
inline constexpr Gpa kAcpiTables{0xe0000};
inline constexpr std::uint64_t kAcpiTablesLimit = 0x20000;

inline constexpr Gpa kLocalApic{0xfee00000};
inline constexpr Gpa kIoApic{0xfec00000};
inline constexpr std::uint8_t kIoApicId = 0;
// ACPI's system control interrupt: level-triggered, active high, IOAPIC pin 9.
inline constexpr std::uint16_t kSciIrq = 9;
// Local APIC ids are bytes, and 255 means everybody.
inline constexpr std::uint32_t kMaxVcpus = 254;

// The bytes to be put at kAcpiTables. A vCPU's local APIC id is its number. kInvalidInput unless `vcpus` is from 1 to
// kMaxVcpus.
Result<std::vector<std::byte>> build_acpi_tables(std::uint32_t vcpus);

}  // namespace panicroom::kvm
