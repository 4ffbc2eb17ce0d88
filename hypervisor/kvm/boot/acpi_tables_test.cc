#include "hypervisor/kvm/boot/acpi_tables.h"

#include <gmock/gmock.h>

#include <map>
#include <string>

#include "base/bytes.h"

namespace panicroom::kvm {
namespace {

using ::testing::ElementsAre;

std::vector<std::byte> tables_for(std::uint32_t vcpus) {
  auto tables = build_acpi_tables(vcpus);
  EXPECT_TRUE(tables) << tables.error().message();
  return tables ? *std::move(tables) : std::vector<std::byte>();
}

unsigned sum(Bytes bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += std::to_integer<unsigned>(byte);
  return sum & 0xff;
}

// The table at a guest-physical address, by the length that its header states.
Bytes table_at(Bytes tables, std::uint64_t address) {
  const std::uint64_t offset = address - kAcpiTables.value;
  const auto length = load<std::uint32_t>(tables, offset + 4);
  const auto table = length ? slice(tables, offset, *length) : std::nullopt;
  EXPECT_TRUE(table) << fmt::format("{:#x}", address);
  return table.value_or(Bytes());
}

std::string signature(Bytes table) { return std::string(as_text(table.first(4))); }

// As a kernel finds them: from the RSDP by the XSDT, the FADT's own by the FADT.
std::map<std::string, Bytes> parse(Bytes tables) {
  std::map<std::string, Bytes> found;
  const Bytes xsdt = table_at(tables, *load<std::uint64_t>(tables, 24));
  found[signature(xsdt)] = xsdt;
  for (std::size_t at = 36; at < xsdt.size(); at += 8) {
    const Bytes table = table_at(tables, *load<std::uint64_t>(xsdt, at));
    found[signature(table)] = table;
  }
  const Bytes fadt = found.at("FACP");
  for (const std::size_t at : {36, 40}) {
    const Bytes table = table_at(tables, *load<std::uint32_t>(fadt, at));
    found[signature(table)] = table;
  }
  return found;
}

TEST(AcpiTablesTest, TheRsdpIsFoundWhereKernelsSearchAndLeadsToEveryTable) {
  const auto tables = tables_for(2);
  EXPECT_EQ(kAcpiTables.value % 16, 0U);
  EXPECT_LE(tables.size(), kAcpiTablesLimit);
  const Bytes rsdp = Bytes(tables).first(36);
  EXPECT_EQ(as_text(rsdp.first(8)), "RSD PTR ");
  EXPECT_EQ(sum(rsdp.first(20)), 0U);
  EXPECT_EQ(sum(rsdp), 0U);
  EXPECT_EQ(load<std::uint8_t>(rsdp, 15), 2);
  EXPECT_EQ(load<std::uint32_t>(rsdp, 20), 36U);
  const auto found = parse(tables);
  std::vector<std::string> names;
  for (const auto& [name, table] : found) {
    names.push_back(name);
    EXPECT_TRUE(name == "FACS" || sum(table) == 0) << name;
  }
  EXPECT_THAT(names, ElementsAre("APIC", "DSDT", "FACP", "FACS", "XSDT"));
}

TEST(AcpiTablesTest, TheFadtTellsHowToTurnTheMachineOff) {
  const auto tables = tables_for(1);
  const auto found = parse(tables);
  const Bytes fadt = found.at("FACP");
  EXPECT_EQ(fadt.size(), 276U);
  EXPECT_EQ(load<std::uint8_t>(fadt, 8), 6);
  EXPECT_EQ(load<std::uint16_t>(fadt, 46), 9);
  EXPECT_EQ(load<std::uint32_t>(fadt, 48), 0U);
  EXPECT_EQ(load<std::uint32_t>(fadt, 56), 0x600U);
  EXPECT_EQ(load<std::uint32_t>(fadt, 64), 0x604U);
  EXPECT_EQ(load<std::uint8_t>(fadt, 88), 4);
  EXPECT_EQ(load<std::uint8_t>(fadt, 89), 2);
  EXPECT_EQ(load<std::uint8_t>(fadt, 108), 0x32);
  EXPECT_EQ(*load<std::uint16_t>(fadt, 109) & 0x2e, 0x0c) << "no 8042, no VGA, no MSI, but an RTC";
  EXPECT_NE(*load<std::uint32_t>(fadt, 112) & 1U << 10, 0U) << "RESET_REG_SUP";
  EXPECT_EQ(*load<std::uint32_t>(fadt, 112) & 1U << 20, 0U) << "HW_REDUCED_ACPI";
  // Generic addresses: space, width, offset, access size, address.
  EXPECT_EQ(load<std::uint32_t>(fadt, 116), 0x0100'0801U);
  EXPECT_EQ(load<std::uint64_t>(fadt, 120), 0xcf9U);
  EXPECT_EQ(load<std::uint8_t>(fadt, 128), 6);
  EXPECT_EQ(load<std::uint32_t>(fadt, 148), 0x0200'2001U);
  EXPECT_EQ(load<std::uint64_t>(fadt, 152), 0x600U);
  EXPECT_EQ(load<std::uint32_t>(fadt, 172), 0x0200'1001U);
  EXPECT_EQ(load<std::uint64_t>(fadt, 176), 0x604U);
  EXPECT_EQ(load<std::uint64_t>(fadt, 132), 0U);
  EXPECT_EQ(load<std::uint64_t>(fadt, 140), *load<std::uint32_t>(fadt, 40));
}

TEST(AcpiTablesTest, TheDsdtNamesTheSleepType) {
  const auto tables = tables_for(1);
  const auto found = parse(tables);
  const Bytes aml = found.at("DSDT").subspan(36);
  ASSERT_EQ(aml.size(), 13U);
  EXPECT_EQ(as_text(aml.first(6)), "\x08\\_S5_");
  EXPECT_EQ(load<std::uint8_t>(aml, 6), 0x12);
  EXPECT_EQ(load<std::uint8_t>(aml, 7), aml.size() - 7) << "the package's length counts itself";
  EXPECT_EQ(load<std::uint8_t>(aml, 8), 4);
  EXPECT_EQ(load<std::uint32_t>(aml, 9), 0U);
}

TEST(AcpiTablesTest, TheFacsIsAlignedAndEmpty) {
  const auto tables = tables_for(3);
  const auto found = parse(tables);
  EXPECT_EQ(*load<std::uint32_t>(found.at("FACP"), 36) % 64, 0U);
  EXPECT_EQ(found.at("FACS").size(), 64U);
  EXPECT_EQ(load<std::uint8_t>(found.at("FACS"), 32), 2);
}

TEST(AcpiTablesTest, TheMadtHasEveryCpuAndTheIoApic) {
  for (const std::uint32_t vcpus : {1U, 4U, kMaxVcpus}) {
    const auto tables = tables_for(vcpus);
    EXPECT_LE(tables.size(), kAcpiTablesLimit);
    const auto found = parse(tables);
    const Bytes madt = found.at("APIC");
    EXPECT_EQ(load<std::uint32_t>(madt, 36), 0xfee00000U);
    EXPECT_EQ(load<std::uint32_t>(madt, 40), 1U);
    std::vector<unsigned> cpus;
    std::vector<std::string> others;
    for (std::size_t at = 44; at < madt.size();) {
      const auto length = *load<std::uint8_t>(madt, at + 1);
      ASSERT_GE(length, 2);
      const auto entry = slice(madt, at, length);
      ASSERT_TRUE(entry);
      if (*load<std::uint8_t>(*entry, 0) == 0) {
        EXPECT_EQ(length, 8);
        EXPECT_EQ(load<std::uint8_t>(*entry, 2), load<std::uint8_t>(*entry, 3));
        EXPECT_EQ(load<std::uint32_t>(*entry, 4), 1U);
        cpus.push_back(*load<std::uint8_t>(*entry, 3));
      } else {
        std::string text;
        for (const std::byte byte : *entry) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
        others.push_back(text);
      }
      at += length;
    }
    ASSERT_EQ(cpus.size(), vcpus);
    for (std::uint32_t vcpu = 0; vcpu < vcpus; ++vcpu) EXPECT_EQ(cpus[vcpu], vcpu);
    EXPECT_THAT(others, ElementsAre("010c"
                                    "00"
                                    "00"
                                    "0000c0fe"
                                    "00000000",  //
                                    "020a"
                                    "00"
                                    "00"
                                    "02000000"
                                    "0000",  //
                                    "020a"
                                    "00"
                                    "09"
                                    "09000000"
                                    "0d00",  //
                                    "0406"
                                    "ff"
                                    "0000"
                                    "01"));
  }
}

TEST(AcpiTablesTest, RefusesMoreCpusThanThereAreIds) {
  for (const std::uint32_t vcpus : {0U, kMaxVcpus + 1, ~0U}) {
    const auto tables = build_acpi_tables(vcpus);
    ASSERT_FALSE(tables) << vcpus;
    EXPECT_EQ(tables.error().kind(), ErrorKind::kInvalidInput);
  }
}

}  // namespace
}  // namespace panicroom::kvm
