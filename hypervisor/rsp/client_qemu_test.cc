// The client against the gdbstub of a real qemu-system-x86_64 (TCG, two vCPUs) that runs qemu_test_guest.S.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>

#include "hypervisor/rsp/client.h"

extern "C" {
extern const char qemu_test_guest[];
extern const char qemu_test_guest_loop[];
extern const char qemu_test_guest_counted[];
extern const char qemu_test_guest_back[];
extern const char qemu_test_guest_park[];
extern const char qemu_test_guest_entry64[];
extern const char qemu_test_guest_end[];
}

namespace panicroom::rsp {
namespace {

using hypervisor::Registers;
using testing::HasSubstr;

constexpr VcpuId kFirst{0};
constexpr VcpuId kSecond{1};
constexpr auto kPatience = std::chrono::seconds(60);
// What the guest keeps in XMM7 and stores beside its counter in every round.
constexpr std::uint64_t kXmm7 = 0x1122334455667788;
constexpr std::uint64_t kR14 = 0x0123456789abcdef;
constexpr std::uint64_t kResetRip = 0xfff0;

Clock::time_point soon() { return Clock::now() + kPatience; }

// Where the guest has what a label of the assembler source stands for.
Gva at(const char* label) { return Gva{0xf0000} + static_cast<std::uint64_t>(label - qemu_test_guest); }
Gva counter(VcpuId vcpu) { return Gva{0x8000} + std::uint64_t{64} * index(vcpu); }

// A QEMU of its own for each test, standing before its first instruction; ended with the test, whatever happens to
// either.
class ClientQemu : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/panicroom-rsp.XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    folder_ = folder;
    const auto firmware = folder_ / "firmware";
    ASSERT_TRUE(write_file(firmware, Bytes(reinterpret_cast<const std::byte*>(qemu_test_guest),
                                           static_cast<std::size_t>(qemu_test_guest_end - qemu_test_guest))));
    // setpriv: so that QEMU ends even where this program is killed.
    std::vector<std::string> argv = {"setpriv",
                                     "--pdeathsig",
                                     "KILL",
                                     "--",
                                     "qemu-system-x86_64",
                                     "-accel",
                                     "tcg",
                                     "-smp",
                                     "2",
                                     "-m",
                                     "16",
                                     "-S",
                                     "-display",
                                     "none",
                                     "-nodefaults",
                                     "-bios",
                                     firmware,
                                     "-gdb",
                                     "unix:" + socket().native() + ",server=on,wait=off"};
    std::vector<char*> pointers;
    pointers.reserve(argv.size() + 1);
    for (auto& argument : argv) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    ASSERT_EQ(::posix_spawnp(&pid_, "setpriv", nullptr, nullptr, pointers.data(), environ), 0)
        << "setpriv is in the package util-linux, qemu-system-x86_64 in qemu-system-x86";
  }

  void TearDown() override {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] std::filesystem::path socket() const { return folder_ / "gdb"; }
  [[nodiscard]] pid_t pid() const { return pid_; }

  [[nodiscard]] Client connect(ClientConfig config = {}) const {
    auto client = Client::connect(socket(), soon(), config);
    if (!client) {
      ADD_FAILURE() << client.error().message() << " (is the package qemu-system-x86 installed?)";
      std::abort();  // The guest is the test; TearDown's work is done by setpriv.
    }
    return *std::move(client);
  }

 private:
  std::filesystem::path folder_;
  pid_t pid_ = 0;
};

Registers registers_of(Client& client, VcpuId vcpu) {
  const auto registers = client.read_registers(vcpu);
  EXPECT_TRUE(registers) << registers.error().message();
  return registers.value_or(Registers{});
}

std::uint64_t load_u64(Client& client, Gva address) {
  const auto bytes = client.read_memory(kFirst, address, 8);
  EXPECT_TRUE(bytes) << bytes.error().message();
  return bytes ? load<std::uint64_t>(*bytes, 0).value_or(0) : 0;
}

StopReply run(Client& client, std::initializer_list<VcpuId> vcpus) {
  const auto resumed = client.resume(std::span(vcpus.begin(), vcpus.size()));
  EXPECT_TRUE(resumed) << resumed.error().message();
  const auto stop = client.wait_stop(soon());
  EXPECT_TRUE(stop) << stop.error().message();
  EXPECT_TRUE(!stop || *stop) << "no stop came";
  return stop && *stop ? **stop : StopReply{};
}

// Steps until something was executed, see Client::step(). No instruction of the guest leaves every register as it was.
StopReply step(Client& client, VcpuId vcpu) {
  const auto before = registers_of(client, vcpu);
  for (;;) {
    const auto stop = client.step(vcpu);
    EXPECT_TRUE(stop) << stop.error().message();
    if (!stop) return {};
    if (!stop->is_trap() || registers_of(client, vcpu) != before) return *stop;
  }
}

// Runs `vcpu` alone to `address`, and checks that it got there.
void run_to(Client& client, VcpuId vcpu, Gva address) {
  const auto inserted = client.insert_breakpoint(address);
  ASSERT_TRUE(inserted) << inserted.error().message();
  const auto stop = run(client, {vcpu});
  EXPECT_TRUE(stop.is_trap());
  EXPECT_EQ(stop.vcpu, vcpu);
  EXPECT_EQ(registers_of(client, vcpu).rip, address.value);
  ASSERT_TRUE(client.remove_breakpoint(address));
}

// Brings both vCPUs to the beginning of their loop.
void boot(Client& client) {
  run_to(client, kFirst, at(qemu_test_guest_loop));
  run_to(client, kSecond, at(qemu_test_guest_loop));
}

TEST_F(ClientQemu, StandsBeforeTheFirstInstruction) {
  auto client = connect();
  EXPECT_EQ(client.vcpu_count(), 2U);
  const auto reset = registers_of(client, kFirst);
  EXPECT_EQ(reset.rip, kResetRip);
  EXPECT_EQ(reset.cs, 0xf000U);
  EXPECT_EQ(reset.rflags, hypervisor::kRflagsFixed);
  EXPECT_EQ(reset.cr0, 0x60000010U) << "SDM Vol. 3A, table 9-1";
  EXPECT_EQ(hypervisor::cpl(reset), 0U);

  EXPECT_TRUE(step(client, kFirst).is_trap());
  EXPECT_EQ(registers_of(client, kFirst).rip, 0U) << "the far jump to 0xf000:0";
}

TEST_F(ClientQemu, ReadsTheRegistersOfSixtyFourBitMode) {
  auto client = connect();
  boot(client);
  for (const auto vcpu : {kFirst, kSecond}) {
    const auto registers = registers_of(client, vcpu);
    EXPECT_EQ(registers.r15, index(vcpu)) << "the local APIC's number";
    EXPECT_EQ(registers.r14, kR14);
    EXPECT_EQ(registers.rax, kXmm7);
    EXPECT_EQ(registers.rbx, counter(vcpu).value);
    EXPECT_EQ(registers.rsp, counter(vcpu).value + 0x1000);
    EXPECT_EQ(registers.cs, 8U);
    EXPECT_EQ(registers.ss, 16U);
    EXPECT_EQ(registers.cr3, 0xf1000U);
    EXPECT_EQ(registers.cr4 & 0x220U, 0x220U);
    EXPECT_NE(registers.efer & hypervisor::kEferLma, 0U);
    EXPECT_EQ(registers.cr0 & (hypervisor::kCr0Pe | hypervisor::kCr0Pg), hypervisor::kCr0Pe | hypervisor::kCr0Pg);
  }
}

TEST_F(ClientQemu, AVcpuThatIsNotResumedStaysFrozen) {
  auto client = connect();
  run_to(client, kFirst, at(qemu_test_guest_loop));
  EXPECT_EQ(registers_of(client, kSecond).rip, kResetRip) << "it was sent a startup IPI, but not let run";
  run_to(client, kSecond, at(qemu_test_guest_loop));

  const auto frozen = registers_of(client, kFirst);
  const auto frozen_count = load_u64(client, counter(kFirst));
  const auto count = load_u64(client, counter(kSecond));
  // How far a run gets before the interrupt is the host's affair.
  while (load_u64(client, counter(kSecond)) < count + 1000) {
    ASSERT_TRUE(client.resume(std::array{kSecond}));
    ASSERT_TRUE(client.interrupt());
    const auto stop = client.wait_stop(soon());
    ASSERT_TRUE(stop && *stop);
    EXPECT_TRUE((*stop)->is_interrupt());
  }
  EXPECT_EQ(registers_of(client, kFirst), frozen);
  EXPECT_EQ(load_u64(client, counter(kFirst)), frozen_count);
}

TEST_F(ClientQemu, BreakpointsAreExactOverAndOver) {
  auto client = connect();
  boot(client);
  const auto address = at(qemu_test_guest_loop);
  const auto count = load_u64(client, counter(kFirst));
  for (std::uint64_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(step(client, kFirst).is_trap());
    run_to(client, kFirst, address);
    ASSERT_EQ(load_u64(client, counter(kFirst)), count + i) << "exactly one round";
  }
}

TEST_F(ClientQemu, ABreakpointHoldsForEveryVcpuAndIsHitAgainWhenResumedThere) {
  auto client = connect();
  boot(client);
  ASSERT_TRUE(client.insert_breakpoint(at(qemu_test_guest_counted), BreakpointKind::kHardware));
  for (const auto vcpu : {kSecond, kFirst, kFirst, kSecond}) {
    const auto stop = run(client, {vcpu});
    EXPECT_TRUE(stop.is_trap());
    EXPECT_EQ(stop.vcpu, vcpu);
    EXPECT_EQ(registers_of(client, vcpu).rip, at(qemu_test_guest_counted).value);
  }
  ASSERT_TRUE(client.remove_breakpoint(at(qemu_test_guest_counted), BreakpointKind::kHardware));
  const auto again = client.remove_breakpoint(at(qemu_test_guest_counted), BreakpointKind::kHardware);
  ASSERT_FALSE(again) << "it is gone";
  EXPECT_EQ(load_u64(client, counter(kFirst)), 1U);
  EXPECT_EQ(load_u64(client, counter(kSecond)), 1U);
}

TEST_F(ClientQemu, StepsOneVcpuByOneInstruction) {
  auto client = connect();
  boot(client);
  const auto frozen = registers_of(client, kFirst);
  for (int round = 0; round < 3; ++round) {
    for (const auto* label : {qemu_test_guest_counted, qemu_test_guest_back, qemu_test_guest_loop}) {
      const auto stop = step(client, kSecond);
      EXPECT_TRUE(stop.is_trap());
      EXPECT_EQ(stop.vcpu, kSecond);
      EXPECT_EQ(registers_of(client, kSecond).rip, at(label).value);
    }
  }
  EXPECT_EQ(registers_of(client, kFirst), frozen);
}

TEST_F(ClientQemu, AHaltedVcpusStepEndsAndTheOtherGoesOn) {
  auto client = connect({.step_timeout = std::chrono::milliseconds(50)});
  boot(client);
  auto registers = registers_of(client, kFirst);
  registers.rip = at(qemu_test_guest_park).value;
  ASSERT_TRUE(client.write_registers(kFirst, registers));
  auto stop = step(client, kFirst);
  // QEMU reports the step over HLT itself or not, by version; the one after it is never executed.
  if (stop.is_trap()) stop = step(client, kFirst);
  EXPECT_TRUE(stop.is_interrupt());
  EXPECT_EQ(registers_of(client, kFirst).rip, at(qemu_test_guest_park).value + 1);
  run_to(client, kSecond, at(qemu_test_guest_back));
}

TEST_F(ClientQemu, WritesRegistersAndLeavesTheOthersAlone) {
  auto client = connect();
  boot(client);
  auto registers = registers_of(client, kFirst);
  for (std::size_t i = 0; i < hypervisor::kGprCount; ++i) {
    const auto gpr = static_cast<hypervisor::Gpr>(i);
    if (gpr != hypervisor::Gpr::kRbx) set(registers, gpr, 0xabcdef0000000000 + i);
  }
  registers.rip = at(qemu_test_guest_counted).value;
  registers.rflags ^= hypervisor::kRflagsZf | hypervisor::kRflagsIf;
  registers.fs_base = 0xffff888000000000;
  registers.gs_base = 0xffff888000001000;
  registers.kernel_gs_base = 0xffff888000002000;
  registers.cr2 = 0xdead000;
  const auto written = client.write_registers(kFirst, registers);
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(registers_of(client, kFirst), registers);
  EXPECT_EQ(load_u64(client, counter(kFirst)), 0U);

  // The guest goes on from there: the counting instruction is skipped, and it stores the XMM7 that nobody touched.
  ASSERT_TRUE(step(client, kFirst).is_trap());
  EXPECT_EQ(load_u64(client, counter(kFirst)), 0U);
  EXPECT_EQ(load_u64(client, counter(kFirst) + 8), kXmm7);
  registers.rip = at(qemu_test_guest_back).value;
  EXPECT_EQ(registers_of(client, kFirst), registers);
  EXPECT_EQ(registers_of(client, kSecond).r14, kR14) << "the other vCPU's are its own";
}

TEST_F(ClientQemu, ASelectorWithoutADescriptorIsAnError) {
  auto client = connect();
  boot(client);
  auto registers = registers_of(client, kFirst);
  registers.ds = 0x50;
  const auto written = client.write_registers(kFirst, registers);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message(), HasSubstr("register ds"));
  EXPECT_EQ(registers_of(client, kFirst).ds, 16U);
}

TEST_F(ClientQemu, ReadsAndWritesVirtualAndPhysicalMemory) {
  auto client = connect();
  boot(client);
  // Virtual 2 MiB is physical 4 MiB, see the page tables. Some packets long, and at no round address.
  std::vector<std::byte> data(10'007);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 13 + i / 256);
  const auto written = client.write_memory(kFirst, Gva{0x200123}, data);
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(*client.read_memory(kSecond, Gva{0x200123}, data.size()), data);
  EXPECT_EQ(*client.read_physical(Gpa{0x400123}, data.size()), data);
  EXPECT_NE(*client.read_physical(Gpa{0x200123}, data.size()), data);

  ASSERT_TRUE(client.write_physical(Gpa{0x400123}, as_bytes("physical")));
  EXPECT_EQ(as_text(*client.read_memory(kFirst, Gva{0x200123}, 8)), "physical") << "virtual again after that";

  // ROM holds what the assembler made of it.
  const auto rom = client.read_memory(kFirst, Gva{0xf0000}, 4096);
  ASSERT_TRUE(rom);
  EXPECT_EQ(std::memcmp(rom->data(), qemu_test_guest, rom->size()), 0);
}

TEST_F(ClientQemu, UnmappedMemoryIsAnErrorAndNoMore) {
  auto client = connect();
  boot(client);
  const auto read = client.read_memory(kFirst, Gva{0x400000}, 4);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::kHost);
  EXPECT_THAT(read.error().message(), HasSubstr("0x400000"));
  EXPECT_FALSE(client.read_memory(kFirst, Gva{0x3ffffe}, 4)) << "half of it is mapped";
  EXPECT_FALSE(client.write_memory(kFirst, Gva{0xffff800000000000}, as_bytes("x")));
  EXPECT_EQ(registers_of(client, kFirst).rip, at(qemu_test_guest_loop).value);
}

TEST_F(ClientQemu, AnInterruptStopsARunThatNothingElseStops) {
  auto client = connect();
  boot(client);
  ASSERT_TRUE(client.resume(std::array{kFirst, kSecond}));
  const auto early = client.read_stop();
  ASSERT_TRUE(early);
  EXPECT_FALSE(*early);
  ASSERT_TRUE(client.interrupt());
  while (client.running()) {
    pollfd poll_fd{client.fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&poll_fd, 1, 60'000), 1);
    const auto stop = client.read_stop();
    ASSERT_TRUE(stop) << stop.error().message();
    EXPECT_TRUE(!*stop || (*stop)->is_interrupt());
  }
  for (const auto vcpu : {kFirst, kSecond}) {
    const auto rip = Gva{registers_of(client, vcpu).rip};
    EXPECT_GE(rip, at(qemu_test_guest_loop));
    EXPECT_LE(rip, at(qemu_test_guest_back));
  }
}

TEST_F(ClientQemu, InterruptsThatRaceWithBreakpointsConfuseNothing) {
  auto client = connect();
  boot(client);
  const auto address = at(qemu_test_guest_loop);
  for (int i = 0; i < 300; ++i) {
    // Off the breakpoint first, or the run would end where it began.
    ASSERT_TRUE(step(client, kSecond).is_trap());
    const auto before = registers_of(client, kSecond).rip;
    ASSERT_TRUE(client.insert_breakpoint(address));
    ASSERT_TRUE(client.resume(std::array{kSecond}));
    // Some runs are let go until the stub has said something, some are not.
    if (i % 3 == 0) {
      pollfd poll_fd{client.fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&poll_fd, 1, 60'000), 1);
    }
    ASSERT_TRUE(client.interrupt());
    const auto stop = client.wait_stop(soon());
    ASSERT_TRUE(stop) << stop.error().message();
    ASSERT_TRUE(*stop);
    const auto rip = registers_of(client, kSecond).rip;
    if ((*stop)->is_trap()) {
      EXPECT_EQ(rip, address.value);
      EXPECT_EQ((*stop)->vcpu, kSecond);
    } else {
      EXPECT_TRUE((*stop)->is_interrupt());
      EXPECT_TRUE(rip == before || Gva{rip} <= at(qemu_test_guest_back));
    }
    ASSERT_TRUE(client.remove_breakpoint(address));
  }
  // And a breakpoint that nothing races with is still reported.
  ASSERT_TRUE(step(client, kSecond).is_trap());
  ASSERT_TRUE(client.insert_breakpoint(address));
  ASSERT_TRUE(client.resume(std::array{kSecond}));
  const auto last = client.wait_stop(soon());
  ASSERT_TRUE(last) << last.error().message();
  ASSERT_TRUE(*last);
  EXPECT_TRUE((*last)->is_trap());
  EXPECT_EQ(registers_of(client, kSecond).rip, address.value);
}

TEST_F(ClientQemu, BothVcpusAtOneBreakpointAreBothReported) {
  auto client = connect();
  boot(client);
  // Both stand at the breakpoint: whichever is reported, the other must not get past it.
  ASSERT_TRUE(client.insert_breakpoint(at(qemu_test_guest_loop)));
  for (int i = 0; i < 200; ++i) {
    const auto stop = run(client, {kFirst, kSecond});
    ASSERT_TRUE(stop.is_trap());
    ASSERT_TRUE(stop.vcpu);
    for (const auto vcpu : {kFirst, kSecond}) {
      ASSERT_EQ(registers_of(client, vcpu).rip, at(qemu_test_guest_loop).value);
      ASSERT_EQ(load_u64(client, counter(vcpu)), 0U);
    }
  }
}

TEST_F(ClientQemu, DetachingRemovesBreakpointsAndLetsEverythingRun) {
  std::uint64_t count = 0;
  {
    auto client = connect();
    boot(client);
    ASSERT_TRUE(client.insert_breakpoint(at(qemu_test_guest_counted)));
    count = load_u64(client, counter(kFirst));
    const auto detached = client.detach();
    ASSERT_TRUE(detached) << detached.error().message();
  }
  // Connecting stops the machine again, wherever it is; how far it got is the host's affair.
  while (true) {
    auto client = connect();
    if (load_u64(client, counter(kFirst)) > count + 1000 && load_u64(client, counter(kSecond)) > 1000) break;
    ASSERT_TRUE(client.detach());
  }
}

TEST_F(ClientQemu, ClosingWithoutDetachingLeavesItStandingStill) {
  std::uint64_t count = 0;
  {
    auto client = connect();
    boot(client);
    count = load_u64(client, counter(kFirst));
  }
  auto client = connect();
  EXPECT_EQ(registers_of(client, kFirst).rip, at(qemu_test_guest_loop).value);
  EXPECT_EQ(load_u64(client, counter(kFirst)), count);
}

TEST_F(ClientQemu, AQemuThatDiesIsAnError) {
  auto client = connect();
  boot(client);
  ASSERT_TRUE(client.resume(std::array{kFirst, kSecond}));
  ASSERT_EQ(::kill(pid(), SIGKILL), 0);
  const auto stop = client.wait_stop(soon());
  ASSERT_FALSE(stop);
  EXPECT_EQ(stop.error().kind(), ErrorKind::kHost);
  EXPECT_THAT(stop.error().message(), HasSubstr("QEMU has ended"));
}

TEST_F(ClientQemu, AQemuThatHangsIsAnError) {
  auto client = connect({.reply_timeout = std::chrono::milliseconds(300)});
  ASSERT_EQ(::kill(pid(), SIGSTOP), 0);
  const auto registers = client.read_registers(kFirst);
  ASSERT_FALSE(registers);
  EXPECT_EQ(registers.error().kind(), ErrorKind::kHost);
  EXPECT_THAT(registers.error().message(), HasSubstr("QEMU hangs"));
}

}  // namespace
}  // namespace panicroom::rsp
