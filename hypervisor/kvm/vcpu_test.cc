#include "hypervisor/kvm/vcpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "hypervisor/kvm/guest_clock.h"
#include "hypervisor/kvm/kvm_machine.h"
#include "hypervisor/kvm/kvm_tables.h"
#include "hypervisor/kvm/vm.h"

namespace panicroom::kvm {
namespace {

// As the kernel's C has them: Documentation/virt/kvm/api.rst.
TEST(KvmTables, HaveTheNumbersAndTheLayoutOfC) {
  EXPECT_EQ(kGetSupportedCpuid, 0xc008ae05U);
  EXPECT_EQ(kSetCpuid2, 0x4008ae90U);
  EXPECT_EQ(kGetMsrs, 0xc008ae88U);
  EXPECT_EQ(kSetMsrs, 0x4008ae89U);
  EXPECT_EQ(kGetMsrIndexList, 0xc004ae02U);
  EXPECT_EQ(kGetXsave2, 0x9000aecfU);
  EXPECT_EQ(kSetXsave, 0x5000aea5U);
  const std::array entries{kvm_msr_entry{1, 0, 2}, kvm_msr_entry{3, 0, 4}};
  MsrTable table(entries);
  std::array<std::uint32_t, 4> begin{};
  std::memcpy(begin.data(), table.argument(), sizeof(begin));
  EXPECT_THAT(begin, ::testing::ElementsAre(2, 0, 1, 0));
  ASSERT_EQ(table.entries().size(), 2U);
  EXPECT_EQ(table.entries()[1].data, 4U);
}

class VcpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto usable = kvm::usable(); !usable) GTEST_SKIP() << usable.error().message();
    const auto device = KvmDevice::open();
    ASSERT_TRUE(device) << device.error().message();
    auto vm = Vm::create(*device);
    ASSERT_TRUE(vm) << vm.error().message();
    vm_.emplace(*std::move(vm));
    auto memory = Mapping::anonymous(0x4000);
    ASSERT_TRUE(memory);
    memory_ = *std::move(memory);
    ASSERT_TRUE(vm_->add_memory(Gpa{0}, memory_.bytes()));
    auto vcpu = Vcpu::create(*device, vm_->fd(), 0);
    ASSERT_TRUE(vcpu) << vcpu.error().message();
    vcpu_.emplace(*std::move(vcpu));
  }
  // Real mode, at 0x1000.
  void run(std::initializer_list<std::uint8_t> code) {
    auto* at = memory_.bytes().data() + 0x1000;
    for (const auto byte : code) *at++ = std::byte{byte};
    auto sregs = *vcpu_->sregs();
    sregs.cs.base = sregs.cs.selector = 0;
    ASSERT_TRUE(vcpu_->set_sregs(sregs));
    kvm_regs regs = {};
    regs.rip = 0x1000;
    regs.rflags = hypervisor::kRflagsFixed;
    ASSERT_TRUE(vcpu_->set_regs(regs));
    const auto entry = vcpu_->enter();
    ASSERT_TRUE(entry) << entry.error().message();
    ASSERT_EQ(*entry, Vcpu::Entry::kExited);
  }

  std::optional<Vm> vm_;
  Mapping memory_;
  std::optional<Vcpu> vcpu_;
};

TEST_F(VcpuTest, RunsAndComesBackBehindAnAccessToAPort) {
  run({0xb0, 0x2a, 0xe6, 0x80, 0xf4});  // mov $42,%al; out %al,$0x80; hlt
  EXPECT_EQ(vcpu_->run().exit_reason, static_cast<std::uint32_t>(KVM_EXIT_IO));
  EXPECT_EQ(vcpu_->run().io.port, 0x80);
  const auto completed = vcpu_->complete();
  ASSERT_TRUE(completed);
  EXPECT_EQ(*completed, Vcpu::Entry::kInterrupted) << "it has executed no more";
  EXPECT_EQ(vcpu_->registers()->rip, 0x1004U);
  EXPECT_EQ(vcpu_->registers()->rax, 42U);
}

TEST_F(VcpuTest, ItsStateCanBePutBack) {
  run({0xe6, 0x80});
  ASSERT_TRUE(vcpu_->complete());
  const auto before = *vcpu_->registers();
  const auto state = vcpu_->state();
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_FALSE(state->msrs.empty());
  auto changed = before;
  changed.rip = 0x2000;
  changed.r12 = 0x1122334455667788;
  changed.cr2 = 0x5000;
  changed.kernel_gs_base = 0xffff888000000000;
  changed.ds = 0x40;
  ASSERT_TRUE(vcpu_->set_registers(changed));
  EXPECT_EQ(*vcpu_->registers(), changed);
  const auto restored = vcpu_->set_state(*state);
  ASSERT_TRUE(restored) << restored.error().message();
  EXPECT_EQ(*vcpu_->registers(), before);
}

TEST_F(VcpuTest, WithoutPagingAnAddressIsItself) {
  const auto translated = vcpu_->translate(Gva{0x1234});
  ASSERT_TRUE(translated);
  EXPECT_EQ(*translated, Gpa{0x1234});
}

TEST_F(VcpuTest, AnMsrThatIsNoneIsAnError) {
  EXPECT_FALSE(vcpu_->msr(0xdeadbeef));
  EXPECT_FALSE(vcpu_->set_msr(0xdeadbeef, 1));
}

TEST_F(VcpuTest, TheGuestsClocksStandStillWhileStopped) {
  GuestClock clock;
  ASSERT_TRUE(clock.begin({&*vcpu_}, *vcpu_->tsc_khz()));
  if (!clock.can_stop()) GTEST_SKIP() << "this host's KVM has no KVM_VCPU_TSC_OFFSET";
  const auto first = clock.now(0);
  EXPECT_EQ(first.clock.count(), 0);
  EXPECT_EQ(first.tsc, 0U);
  ASSERT_TRUE(clock.go());
  while (clock.now(0).clock < std::chrono::milliseconds(2)) {
  }
  clock.stop();
  const auto stopped = clock.now(0);
  EXPECT_GE(stopped.clock, std::chrono::milliseconds(2));
  EXPECT_GE(stopped.tsc, clock.tsc_khz() * 2);
  EXPECT_EQ(clock.now(0).tsc, stopped.tsc);
  const auto state = clock.state();
  ASSERT_TRUE(clock.go());
  while (clock.now(0).clock < stopped.clock + std::chrono::milliseconds(2)) {
  }
  clock.stop();
  ASSERT_TRUE(clock.set_state(state));
  EXPECT_EQ(clock.now(0).clock, stopped.clock);
  EXPECT_EQ(clock.now(0).tsc, stopped.tsc);
}

}  // namespace
}  // namespace panicroom::kvm
