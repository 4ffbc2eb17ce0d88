#include "hypervisor/qemu/qemu_machine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/bytes.h"
#include "hypervisor/conformance/machine_assertions.h"
#include "hypervisor/qemu/engine_for_test.h"

namespace panicroom::qemu {
namespace {

using hypervisor::TestGuest;

constexpr VcpuId k0{0};

TEST(QemuMachine, BeginsAtTheResetVectorAndTheFirmwareWritesItsBanner) {
  auto guest = TestGuest::create(engine_for_test(), 2);
  ASSERT_NE(guest, nullptr);
  EXPECT_EQ(guest->machine().engine(), "qemu (tcg)");
  const auto registers = guest->machine().registers(k0);
  ASSERT_OK(registers);
  EXPECT_EQ(registers->rip, 0xfff0U);
  ASSERT_TRUE(guest->run_to("work", k0));
  guest->pause();  // What was written before the last stop has been reported now.
  EXPECT_TRUE(guest->agent.ends_with("\nA")) << guest->agent;
  EXPECT_EQ(std::count(guest->agent.begin(), guest->agent.end(), '\n'), 3) << "the firmware's banner, and no more";
}

// They become part of a command of the monitor's.
TEST(QemuMachine, NamesOfSnapshotsArePlain) {
  auto guest = TestGuest::create(engine_for_test(), 1);
  ASSERT_NE(guest, nullptr);
  EXPECT_EQ(guest->machine().snapshot("x y; quit").error().kind(), ErrorKind::kInvalidInput);
}

class PhysicalMemory : public ::testing::TestWithParam<bool> {};

// Much memory comes another way than little does where QEMU's may not be looked into.
TEST_P(PhysicalMemory, ReadsAsTheSameInPieces) {
  QemuOptions options;
  options.look_into_qemu = GetParam();
  auto guest = TestGuest::at_work(engine_for_test(options), 2);
  ASSERT_NE(guest, nullptr);
  auto& machine = guest->machine();
  constexpr std::uint64_t kBegin = 0x100000;
  std::vector<std::byte> whole(std::size_t{1} << 20);
  ASSERT_OK(machine.read_physical(Gpa{kBegin + 3}, whole));
  std::vector<std::byte> pieces(whole.size());
  constexpr std::size_t kPiece = std::size_t{16} * 1024;
  for (std::size_t at = 0; at < pieces.size(); at += kPiece) {
    ASSERT_OK(machine.read_physical(Gpa{kBegin + 3 + at}, std::span(pieces).subspan(at, kPiece)));
  }
  EXPECT_EQ(whole, pieces);
  std::array<std::byte, 16> scratch{};
  ASSERT_OK(machine.write_memory(k0, guest->at("scratch"), as_bytes("sixteen bytes...")));
  ASSERT_OK(machine.read_physical(Gpa{guest->at("scratch").value}, scratch));
  EXPECT_EQ(as_text(scratch), "sixteen bytes...");
  // The firmware's ROM, by its last bytes: the hole below 1 MiB is not what the RAM behind it is.
  std::array<std::byte, 8> date{};
  ASSERT_OK(machine.read_physical(Gpa{0xffff5}, date));
  EXPECT_EQ(as_text(date)[2], '/') << "the BIOS date, mm/dd/yy";
  EXPECT_EQ(machine.read_physical(Gpa{(64U << 20) - 0x1000}, whole).error().kind(), ErrorKind::kInvalidInput);
}

INSTANTIATE_TEST_SUITE_P(QemuMachine, PhysicalMemory, ::testing::Bool(),
                         [](const auto& choice) { return std::string(choice.param ? "FromQemusOwn" : "AskedOfQemu"); });

}  // namespace
}  // namespace panicroom::qemu
