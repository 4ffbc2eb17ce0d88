#include "hypervisor/kvm/boot/acpi_tables.h"

#include <array>
#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "hypervisor/kvm/devices/power.h"
#include "hypervisor/kvm/devices/rtc_registers.h"

namespace panicroom::kvm {
namespace {

// The tables name each other by 32-bit addresses as well as by 64-bit ones.
constexpr auto kBase = static_cast<std::uint32_t>(kAcpiTables.value);
static_assert(kBase == kAcpiTables.value);

// Bytes written in order, or over zeroes that were written before.
class TableWriter {
 public:
  template <typename T>
  void append(T value) {
    append_bytes(std::as_bytes(std::span(&value, 1)));
  }
  void append_bytes(Bytes bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void zeroes(std::size_t count) { bytes_.resize(bytes_.size() + count); }
  void align(std::size_t boundary) { bytes_.resize((bytes_.size() + boundary - 1) / boundary * boundary); }

  // Only where there is something.
  template <typename T>
  void put(std::size_t at, T value) {
    std::memcpy(bytes_.data() + at, &value, sizeof(value));
  }
  // Makes the bytes from `begin` to `end` sum up to 0.
  void checksum(std::size_t begin, std::size_t end, std::size_t at) {
    unsigned sum = 0;
    bytes_[at] = std::byte{0};
    for (std::size_t i = begin; i < end; ++i) sum += std::to_integer<unsigned>(bytes_[i]);
    bytes_[at] = static_cast<std::byte>(-sum & 0xff);
  }

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  // The address that what is written next will have.
  [[nodiscard]] std::uint32_t address() const { return kBase + static_cast<std::uint32_t>(bytes_.size()); }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

constexpr std::string_view kOemId = "PANICR";
constexpr std::string_view kOemTableId = "PANICRM ";
constexpr std::string_view kCreatorId = "PNCR";
constexpr std::size_t kLengthAt = 4;
constexpr std::size_t kChecksumAt = 9;

// A table with the header that all have but RSDP and FACS (5.2.6); it ends with finish().
std::size_t begin_table(TableWriter& writer, std::string_view signature, std::uint8_t revision) {
  writer.align(16);
  const std::size_t begin = writer.size();
  writer.append_bytes(as_bytes(signature));
  writer.append(std::uint32_t{0});  // Length.
  writer.append(revision);
  writer.append(std::uint8_t{0});  // Checksum.
  writer.append_bytes(as_bytes(kOemId));
  writer.append_bytes(as_bytes(kOemTableId));
  writer.append(std::uint32_t{1});  // OEM revision.
  writer.append_bytes(as_bytes(kCreatorId));
  writer.append(std::uint32_t{1});  // Creator revision.
  return begin;
}

void finish_table(TableWriter& writer, std::size_t begin) {
  writer.put(begin + kLengthAt, static_cast<std::uint32_t>(writer.size() - begin));
  writer.checksum(begin, writer.size(), begin + kChecksumAt);
}

// 5.2.10. Its alignment is demanded; it has no checksum.
std::uint32_t write_facs(TableWriter& writer) {
  constexpr std::uint32_t kBytes = 64;
  writer.align(64);
  const std::size_t begin = writer.size();
  const std::uint32_t address = writer.address();
  writer.append_bytes(as_bytes(std::string_view("FACS")));
  writer.append(kBytes);
  writer.zeroes(kBytes - 8);
  writer.put(begin + 32, std::uint8_t{2});  // Version.
  return address;
}

// 5.2.11.1. One object, by which a kernel knows how to turn the machine off (7.4.2): in ASL,
// Name (\_S5, Package (4) {0, 0, 0, 0}), the first number being PM1a_CNT's SLP_TYP.
std::uint32_t write_dsdt(TableWriter& writer) {
  static constexpr std::array<std::uint8_t, 13> kAml = {
      0x08,                                   // NameOp (20.2.5.1)
      0x5c,          0x5f, 0x53, 0x35, 0x5f,  // "\", "_S5_"
      0x12,                                   // PackageOp (20.2.5.4)
      0x06,                                   // PkgLength: itself and all that follows.
      0x04,                                   // NumElements
      kSleepTypeOff,                          // ZeroOp (20.2.3) is 0, which the sleep type is as well.
      0x00,          0x00, 0x00};
  static_assert(kSleepTypeOff == 0, "another number needs BytePrefix, and two bytes");
  // Revision 2: integers have 64 bits.
  const std::size_t begin = begin_table(writer, "DSDT", 2);
  writer.append_bytes(std::as_bytes(std::span(kAml)));
  finish_table(writer, begin);
  return kBase + static_cast<std::uint32_t>(begin);
}

// A register in I/O space: Generic Address Structure, 5.2.3.2. An access size of 1 is a byte, of 2 a word.
void put_io_register(TableWriter& writer, std::size_t at, unsigned bits, std::uint8_t access_size, std::uint16_t port) {
  constexpr std::uint8_t kSystemIo = 1;
  writer.put(at, kSystemIo);
  writer.put(at + 1, static_cast<std::uint8_t>(bits));
  writer.put(at + 2, std::uint8_t{0});  // Bit offset.
  writer.put(at + 3, access_size);
  writer.put(at + 4, std::uint64_t{port});
}

// 5.2.9, table 5.9, whose offsets these are. What stays 0 is not there: no SMI_CMD, so always in ACPI mode; no PM
// timer, no general-purpose events.
std::uint32_t write_fadt(TableWriter& writer, std::uint32_t facs, std::uint32_t dsdt) {
  constexpr std::uint8_t kMajor = 6;
  constexpr std::uint8_t kMinor = 5;
  constexpr std::size_t kBytes = 276;
  // IAPC_BOOT_ARCH (table 5.11): legacy devices (the UART); no VGA; no MSI. Bit 1, the 8042, is clear, and so is bit 5,
  // for the RTC is there.
  constexpr std::uint16_t kBootArch = 1U << 0 | 1U << 2 | 1U << 3;
  // Flags (table 5.10): WBINVD works; C1 on all CPUs; no power and sleep button, no RTC wake-up as fixed hardware;
  // RESET_REG is there; headless.
  constexpr std::uint32_t kFlags = 1U << 0 | 1U << 2 | 1U << 4 | 1U << 5 | 1U << 6 | 1U << 10 | 1U << 12;
  constexpr std::uint16_t kNoC2 = 101;  // Microseconds; more than 100 (C2) and 1000 (C3) mean that there is none.
  constexpr std::uint16_t kNoC3 = 1001;

  const std::size_t begin = begin_table(writer, "FACP", kMajor);
  writer.zeroes(kBytes - (writer.size() - begin));
  writer.put(begin + 36, facs);
  writer.put(begin + 40, dsdt);
  writer.put(begin + 46, kSciIrq);
  writer.put(begin + 56, std::uint32_t{kPm1aEventBlock});
  writer.put(begin + 64, std::uint32_t{kPm1aControl});
  writer.put(begin + 88, kPm1aEventBytes);
  writer.put(begin + 89, kPm1aControlBytes);
  writer.put(begin + 96, kNoC2);
  writer.put(begin + 98, kNoC3);
  writer.put(begin + 108, rtc::kCentury);
  writer.put(begin + 109, kBootArch);
  writer.put(begin + 112, kFlags);
  put_io_register(writer, begin + 116, 8, 1, kResetControl);
  writer.put(begin + 128, kResetValue);
  writer.put(begin + 131, kMinor);
  // X_FIRMWARE_CTRL stays 0: FIRMWARE_CTRL must be ignored otherwise. X_DSDT is used where it is not 0.
  writer.put(begin + 140, std::uint64_t{dsdt});
  put_io_register(writer, begin + 148, 8 * kPm1aEventBytes, 2, kPm1aEventBlock);
  put_io_register(writer, begin + 172, 8 * kPm1aControlBytes, 2, kPm1aControl);
  finish_table(writer, begin);
  return kBase + static_cast<std::uint32_t>(begin);
}

// How an interrupt line is driven: MPS INTI flags, table 5.26.
constexpr std::uint16_t kAsTheBusHasIt = 0;
constexpr std::uint16_t kActiveHighLevel = 0x0d;

// 5.2.12.5
void append_override(TableWriter& writer, std::uint8_t irq, std::uint32_t pin, std::uint16_t flags) {
  writer.append(std::uint8_t{2});
  writer.append(std::uint8_t{10});
  writer.append(std::uint8_t{0});  // ISA.
  writer.append(irq);
  writer.append(pin);
  writer.append(flags);
}

// 5.2.12
std::uint32_t write_madt(TableWriter& writer, std::uint32_t vcpus) {
  constexpr std::uint32_t kTwo8259s = 1U << 0;  // PCAT_COMPAT
  constexpr std::uint32_t kEnabled = 1U << 0;
  const std::size_t begin = begin_table(writer, "APIC", 6);
  writer.append(static_cast<std::uint32_t>(kLocalApic.value));
  writer.append(kTwo8259s);
  for (std::uint32_t vcpu = 0; vcpu < vcpus; ++vcpu) {
    // 5.2.12.2
    writer.append(std::uint8_t{0});
    writer.append(std::uint8_t{8});
    writer.append(static_cast<std::uint8_t>(vcpu));  // Its unique id in ACPI, and that of its local APIC.
    writer.append(static_cast<std::uint8_t>(vcpu));
    writer.append(kEnabled);
  }
  // 5.2.12.3
  writer.append(std::uint8_t{1});
  writer.append(std::uint8_t{12});
  writer.append(kIoApicId);
  writer.append(std::uint8_t{0});
  writer.append(static_cast<std::uint32_t>(kIoApic.value));
  writer.append(std::uint32_t{0});  // Its first pin is global system interrupt 0.
  // As on every PC, the timer's line is pin 2.
  append_override(writer, 0, 2, kAsTheBusHasIt);
  append_override(writer, kSciIrq, kSciIrq, kActiveHighLevel);
  // 5.2.12.7: LINT1 is the NMI, on all CPUs.
  writer.append(std::uint8_t{4});
  writer.append(std::uint8_t{6});
  writer.append(std::uint8_t{0xff});
  writer.append(kAsTheBusHasIt);
  writer.append(std::uint8_t{1});
  finish_table(writer, begin);
  return kBase + static_cast<std::uint32_t>(begin);
}

// 5.2.8
std::uint32_t write_xsdt(TableWriter& writer, std::uint32_t fadt, std::uint32_t madt) {
  const std::size_t begin = begin_table(writer, "XSDT", 1);
  writer.append(std::uint64_t{fadt});
  writer.append(std::uint64_t{madt});
  finish_table(writer, begin);
  return kBase + static_cast<std::uint32_t>(begin);
}

// 5.2.5.3. Revision 2: with an XSDT, and here without an RSDT.
constexpr std::uint32_t kRsdpBytes = 36;
constexpr std::size_t kRsdpFirstPart = 20;

void write_rsdp(TableWriter& writer, std::uint32_t xsdt) {
  TableWriter rsdp;
  rsdp.append_bytes(as_bytes(std::string_view("RSD PTR ")));
  rsdp.append(std::uint8_t{0});
  rsdp.append_bytes(as_bytes(kOemId));
  rsdp.append(std::uint8_t{2});   // Revision.
  rsdp.append(std::uint32_t{0});  // RSDT.
  rsdp.append(kRsdpBytes);
  rsdp.append(std::uint64_t{xsdt});
  rsdp.zeroes(kRsdpBytes - rsdp.size());
  rsdp.checksum(0, kRsdpFirstPart, 8);
  rsdp.checksum(0, kRsdpBytes, 32);
  const auto bytes = rsdp.take();
  for (std::size_t i = 0; i < bytes.size(); ++i) writer.put(i, bytes[i]);
}

}  // namespace

Result<std::vector<std::byte>> build_acpi_tables(std::uint32_t vcpus) {
  if (vcpus == 0 || vcpus > kMaxVcpus) {
    return invalid_input("a machine has from 1 to {} vCPUs, not {}", kMaxVcpus, vcpus);
  }
  TableWriter writer;
  writer.zeroes(kRsdpBytes);  // The RSDP, filled in when it is known what it names.
  const std::uint32_t facs = write_facs(writer);
  const std::uint32_t dsdt = write_dsdt(writer);
  const std::uint32_t fadt = write_fadt(writer, facs, dsdt);
  const std::uint32_t madt = write_madt(writer, vcpus);
  write_rsdp(writer, write_xsdt(writer, fadt, madt));
  return writer.take();
}

}  // namespace panicroom::kvm
