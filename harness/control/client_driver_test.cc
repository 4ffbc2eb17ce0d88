#include "harness/control/client_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/control/fake_session.h"
#include "harness/control/machine_operations.h"

namespace panicroom::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using v1::ControlError;
using v1::ControlRequest;

class ClientDriverTest : public testing::Test {
 protected:
  // What the driver, which has a machine that stands still, answers to one request.
  v1::ControlResult ask(const ControlRequest& request) {
    session_.responses.clear();
    session_.requests.push(request);
    // A second one, which lets the machine go on.
    ControlRequest resume;
    resume.set_id(99);
    resume.mutable_resume();
    session_.requests.push(resume);
    EXPECT_TRUE(*driver().before_resume());
    // Beside what is answered to the pause before.
    std::vector<v1::ControlResult> results;
    for (const auto& response : session_.responses) {
      if (response.result().id() == request.id()) results.push_back(response.result());
    }
    EXPECT_THAT(results, SizeIs(1));
    pause();
    return results.empty() ? v1::ControlResult() : results.front();
  }
  void pause() {
    ControlRequest pause;
    pause.set_id(100);
    pause.mutable_pause();
    session_.requests.push(pause);
    EXPECT_TRUE(*driver().on_cancelled());
  }
  ClientDriver& driver() { return *session_.driver; }
  std::uint64_t panic_address() { return session_.kernel.running(session_.plan.panic).value; }

  FakeSession session_;
};

ControlRequest request(std::uint64_t id = 1) {
  ControlRequest request;
  request.set_id(id);
  return request;
}

TEST_F(ClientDriverTest, AMachineThatStandsStillWaitsForItsClient) {
  auto read = request(7);
  read.mutable_read_registers()->set_cpu(1);
  session_.machine.cpus[1].rip = 0x1234;
  const auto result = ask(read);
  EXPECT_EQ(result.id(), 7U);
  EXPECT_EQ(result.registers().rip(), 0x1234U);
}

TEST_F(ClientDriverTest, WhatNeedsAMachineThatStandsStillIsRefusedWhileItRuns) {
  auto resume = request(1);
  resume.mutable_resume();
  session_.requests.push(resume);
  EXPECT_TRUE(*driver().before_resume());
  auto read = request(2);
  read.mutable_read_registers();
  session_.requests.push(read);
  auto look_up = request(3);
  look_up.mutable_look_up_symbol()->set_name("panic");
  session_.requests.push(look_up);
  EXPECT_FALSE(*driver().on_cancelled());
  ASSERT_THAT(session_.responses, SizeIs(3));
  EXPECT_EQ(session_.responses[1].result().error().code(), ControlError::CODE_PRECONDITION);
  EXPECT_EQ(session_.responses[2].result().symbol().address(), panic_address());
  // The machine runs: nobody waits.
  EXPECT_TRUE(*driver().before_resume());
}

TEST_F(ClientDriverTest, ABreakpointStopsTheMachineUntilItIsToldToGoOn) {
  auto add = request(1);
  add.mutable_add_breakpoint()->set_point("panic");
  add.mutable_add_breakpoint()->add_cpus(1);
  auto resume = request(2);
  resume.mutable_resume();
  session_.requests.push(add);
  session_.requests.push(resume);
  EXPECT_TRUE(*driver().before_resume());
  EXPECT_THAT(session_.responses.at(0).result().breakpoint_added().addresses(), ElementsAre(panic_address()));
  ASSERT_THAT(session_.machine.breakpoints, SizeIs(1));
  const auto& [id, where] = *session_.machine.breakpoints.begin();
  EXPECT_EQ(where.first.value, panic_address());
  EXPECT_THAT(where.second, ElementsAre(VcpuId{1}));

  session_.machine.cpus[1].rip = panic_address();
  const hypervisor::BreakpointHit hit{VcpuId{1}, id, Gva{panic_address()}};
  EXPECT_TRUE(*driver().on_breakpoint(hit, session_.machine.cpus[1]));
  const auto& stopped = session_.responses.at(2).event().stopped();
  EXPECT_EQ(stopped.breakpoint(), 1U);
  EXPECT_EQ(stopped.cpu(), 1U);
  EXPECT_EQ(stopped.place(), "panic");
  // Of another's it says so.
  EXPECT_FALSE(*driver().on_breakpoint({VcpuId{1}, hypervisor::BreakpointId{77}, {}}, session_.machine.cpus[1]));

  // It waits now: without the request this would never return.
  session_.requests.push(resume);
  EXPECT_TRUE(*driver().before_resume());
  ASSERT_TRUE(driver().disarm());
  EXPECT_THAT(session_.machine.breakpoints, IsEmpty());
}

TEST_F(ClientDriverTest, AnIpiStopsTheMachineIfItIsTheOne) {
  auto add = request();
  add.mutable_add_breakpoint()->set_point("ipi:nmi");
  add.mutable_add_breakpoint()->add_cpus(1);
  EXPECT_FALSE(driver().waits_for_ipi());
  EXPECT_TRUE(ask(add).has_breakpoint_added());
  EXPECT_TRUE(driver().waits_for_ipi());
  session_.responses.clear();
  hypervisor::Ipi ipi;
  ipi.source = VcpuId{0};
  ipi.sent_as = hypervisor::DeliveryMode::kNmi;
  EXPECT_TRUE(driver().on_ipi(ipi));
  EXPECT_THAT(session_.responses, IsEmpty());
  ipi.source = VcpuId{1};
  EXPECT_TRUE(driver().on_ipi(ipi));
  ASSERT_THAT(session_.responses, SizeIs(1));
  EXPECT_EQ(session_.responses[0].event().stopped().cpu(), 1U);
}

TEST_F(ClientDriverTest, StepsDoNotPassABreakpointThatNobodyWasToldOf) {
  auto step = request(7);
  step.mutable_step()->set_count(5);
  session_.machine.hit_after_steps = 2;
  session_.requests.push(step);
  EXPECT_TRUE(*driver().before_resume()) << "the machine has something to report";
  EXPECT_EQ(session_.machine.steps, 2U);
  EXPECT_THAT(session_.responses, IsEmpty());
  session_.machine.hit_after_steps.reset();
  auto resume = request(8);
  resume.mutable_resume();
  session_.requests.push(resume);
  EXPECT_TRUE(*driver().before_resume());
  EXPECT_EQ(session_.machine.steps, 5U);
  ASSERT_THAT(session_.responses, SizeIs(2));
  EXPECT_EQ(session_.responses[0].result().id(), 7U);
  EXPECT_TRUE(session_.responses[0].result().has_done());
}

TEST_F(ClientDriverTest, EverythingIsBounded) {
  auto add = request();
  add.mutable_add_breakpoint()->set_address(0x1000);
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(ask(add).has_breakpoint_added());
  EXPECT_EQ(ask(add).error().code(), ControlError::CODE_EXHAUSTED);
  auto step = request();
  step.mutable_step()->set_count(10'001);
  EXPECT_EQ(ask(step).error().code(), ControlError::CODE_EXHAUSTED);
  EXPECT_EQ(session_.machine.steps, 0U);
  step.mutable_step()->set_count(0);
  EXPECT_TRUE(ask(step).has_done());
  EXPECT_EQ(session_.machine.steps, 1U);
  auto keep = request();
  for (const char* name : {"a", "b", "c", "d"}) {
    keep.mutable_take_snapshot()->set_name(name);
    EXPECT_TRUE(ask(keep).has_done()) << name;
  }
  keep.mutable_take_snapshot()->set_name("e");
  EXPECT_EQ(ask(keep).error().code(), ControlError::CODE_EXHAUSTED);
  for (const auto& [cpu, length] : {std::pair{0U, 65'537U}, {0U, 0U}, {2U, 1U}}) {
    auto read = request();
    read.mutable_read_memory()->mutable_at()->mutable_virtual_address()->set_cpu(cpu);
    read.mutable_read_memory()->set_length(length);
    EXPECT_EQ(ask(read).error().code(), ControlError::CODE_INVALID);
  }
  auto read = request();
  read.mutable_read_memory()->mutable_at()->set_physical_address(~std::uint64_t{0});
  read.mutable_read_memory()->set_length(2);
  EXPECT_EQ(ask(read).error().code(), ControlError::CODE_INVALID);
  EXPECT_EQ(ask(request()).error().code(), ControlError::CODE_INVALID);
}

TEST_F(ClientDriverTest, MemoryAndRegistersAreChanged) {
  auto write = request();
  write.mutable_write_memory()->mutable_at()->set_physical_address(16);
  write.mutable_write_memory()->set_data("abc");
  EXPECT_TRUE(ask(write).has_done());
  auto read = request();
  read.mutable_read_memory()->mutable_at()->mutable_virtual_address()->set_address(FakeMachine::kMemory + 16);
  read.mutable_read_memory()->set_length(3);
  EXPECT_EQ(ask(read).memory().data(), "abc");
  auto registers = request();
  registers.mutable_write_registers()->mutable_registers()->set_efer(0x500);
  EXPECT_TRUE(ask(registers).has_done());
  EXPECT_EQ(session_.machine.cpus[0].efer, 0x500U);
  EXPECT_EQ(session_.machine.cpus[0].cs, 0x10U);  // As it was.
}

TEST(VcpuRegisters, HasEveryRegister) {
  hypervisor::Registers registers;
  auto* first = reinterpret_cast<std::uint64_t*>(&registers);
  for (std::size_t i = 0; i < sizeof(registers) / sizeof(*first); ++i) first[i] = i + 1;
  hypervisor::Registers back;
  apply(to_proto(registers), back);
  EXPECT_EQ(back, registers);
}

TEST_F(ClientDriverTest, WhoIsHeldDoesNotGoOn) {
  auto hold = request();
  hold.mutable_set_held()->set_held(true);
  EXPECT_TRUE(ask(hold).has_done());
  EXPECT_TRUE(session_.machine.held(VcpuId{0}));
  hold.mutable_set_held()->set_cpu(1);
  session_.requests.push(hold);
  auto resume = request(2);
  resume.mutable_resume();
  session_.requests.push(resume);
  auto back = request(3);
  back.mutable_restore_snapshot();
  session_.requests.push(back);
  session_.responses.clear();
  EXPECT_FALSE(*driver().before_resume());  // The trial ends.
  ASSERT_THAT(session_.responses, SizeIs(3));
  EXPECT_EQ(session_.responses[2].result().error().code(), ControlError::CODE_INVALID);
  EXPECT_EQ(driver().after_trial(false)->id(), 3U);
}

TEST_F(ClientDriverTest, InjectionsAreCarriedOut) {
  auto panic = request();
  panic.mutable_inject()->mutable_panic()->set_message("hello");
  EXPECT_TRUE(ask(panic).has_done());
  EXPECT_EQ(session_.machine.cpus[0].rip, panic_address());
  auto nmi = request();
  nmi.mutable_inject()->set_cpu(1);
  nmi.mutable_inject()->mutable_nmi();
  EXPECT_TRUE(ask(nmi).has_done());
  EXPECT_THAT(session_.machine.nmis, ElementsAre(VcpuId{1}));
  auto mce = request();
  mce.mutable_inject()->mutable_mce();
  EXPECT_EQ(ask(mce).error().code(), ControlError::CODE_UNSUPPORTED);
  // Behind a snapshot nobody would end the window.
  auto spin = request();
  spin.mutable_inject()->mutable_spin();
  EXPECT_TRUE(ask(spin).has_done());
  auto keep = request();
  keep.mutable_take_snapshot()->set_name("a");
  EXPECT_EQ(ask(keep).error().code(), ControlError::CODE_INVALID);
  EXPECT_THAT(session_.machine.snapshots, IsEmpty());
}

TEST_F(ClientDriverTest, ASnapshotIsOfAMachineThatHasNotCrashed) {
  session_.journal.stage("panic-entered", VcpuId{0});
  auto keep = request();
  keep.mutable_take_snapshot()->set_name("a");
  EXPECT_EQ(ask(keep).error().code(), ControlError::CODE_INVALID);
  for (const char* name : {"armed", "", "A", "a/b"}) {
    keep.mutable_take_snapshot()->set_name(name);
    EXPECT_EQ(ask(keep).error().code(), ControlError::CODE_INVALID) << name;
  }
}

TEST_F(ClientDriverTest, RulesAreTheTrials) {
  auto rules = request();
  rules.mutable_set_stop_ipi()->add_rules()->set_deliver("drop");
  EXPECT_TRUE(ask(rules).has_done());
  EXPECT_THAT(session_.scenario.stop_ipi, SizeIs(2));  // Both ways to stop a CPU.
  EXPECT_TRUE(driver().take_new_ipi_rules());
  EXPECT_FALSE(driver().take_new_ipi_rules());
  rules.mutable_set_stop_ipi()->mutable_rules(0)->set_deliver("?");
  EXPECT_EQ(ask(rules).error().code(), ControlError::CODE_INVALID);
  EXPECT_THAT(session_.scenario.stop_ipi, SizeIs(2));
  EXPECT_FALSE(driver().take_new_ipi_rules());
}

TEST_F(ClientDriverTest, ABreakpointAtTheLastInstructionIsTold) {
  auto add = request();
  add.mutable_add_breakpoint()->set_address(panic_address());
  add.mutable_add_breakpoint()->add_cpus(1);
  EXPECT_TRUE(ask(add).has_breakpoint_added());
  session_.responses.clear();
  for (auto& cpu : session_.machine.cpus) cpu.rip = panic_address();
  ASSERT_TRUE(driver().on_jump(VcpuId{1}, session_.machine.cpus[1]));
  ASSERT_THAT(session_.responses, SizeIs(1));
  EXPECT_EQ(session_.responses.at(0).event().stopped().cpu(), 1U);
  EXPECT_THAT(session_.machine.breakpoints, IsEmpty());
}

TEST_F(ClientDriverTest, BehindTheJumpNothingIsSetInCodeThatIsGone) {
  ASSERT_TRUE(driver().on_jump(VcpuId{0}, session_.machine.cpus[0]));
  EXPECT_THAT(session_.responses, IsEmpty());
  auto add = request();
  add.mutable_add_breakpoint()->set_point("panic");
  EXPECT_EQ(ask(add).error().code(), ControlError::CODE_PRECONDITION);
  EXPECT_THAT(session_.machine.breakpoints, IsEmpty());
}

TEST_F(ClientDriverTest, TheOutcomeIsAnsweredWhenItIsDecided) {
  auto await = request(5);
  await.mutable_await_outcome()->mutable_timeout()->set_seconds(0);
  EXPECT_EQ(ask(await).error().code(), ControlError::CODE_INVALID);
  EXPECT_FALSE(driver().timeout());
  EXPECT_FALSE(driver().complete());
  session_.responses.clear();
  await.mutable_await_outcome()->mutable_timeout()->set_seconds(7);
  session_.requests.push(await);
  EXPECT_TRUE(*driver().before_resume());  // The pause before is answered, and it goes on.
  EXPECT_EQ(driver().timeout(), std::chrono::seconds(7));
  EXPECT_TRUE(driver().complete());
  session_.requests.push(await);
  EXPECT_FALSE(*driver().on_cancelled());
  EXPECT_EQ(session_.responses.back().result().error().code(), ControlError::CODE_PRECONDITION);  // One at a time.

  session_.responses.clear();
  session_.journal.outcome(v1::OUTCOME_DUMPED, "");
  auto again = request(6);
  again.mutable_await_outcome();
  session_.requests.push(again);
  auto resume = request(7);
  resume.mutable_resume();
  session_.requests.push(resume);
  auto back = request(8);
  back.mutable_restore_snapshot();
  session_.requests.push(back);
  EXPECT_EQ(driver().after_trial(false)->id(), 8U);
  ASSERT_THAT(session_.responses, SizeIs(3));
  EXPECT_EQ(session_.responses[0].result().id(), 5U);
  EXPECT_EQ(session_.responses[0].result().decided().run().outcome(), v1::OUTCOME_DUMPED);
  EXPECT_EQ(session_.responses[1].result().decided().run().outcome(), v1::OUTCOME_DUMPED);
  EXPECT_EQ(session_.responses[2].result().error().code(), ControlError::CODE_PRECONDITION);
}

TEST_F(ClientDriverTest, AClientThatIsGoneEndsTheTrial) {
  session_.requests.close();
  EXPECT_EQ(driver().before_resume().error().kind(), ErrorKind::kCancelled);
  EXPECT_EQ(driver().on_cancelled().error().kind(), ErrorKind::kCancelled);
  EXPECT_EQ(driver().after_trial(false).error().kind(), ErrorKind::kCancelled);
}

TEST(RequestQueue, TellsOfWhatHasComeAndOfItsEnd) {
  RequestQueue queue;
  EXPECT_TRUE(queue.push(request(1)));
  int told = 0;
  queue.on_arrival([&] { ++told; });
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(queue.push(request(2)));
  EXPECT_EQ(told, 2);
  EXPECT_EQ(queue.take()->id(), 1U);
  EXPECT_EQ(queue.try_take()->id(), 2U);
  EXPECT_FALSE(queue.try_take());
  queue.close();
  EXPECT_EQ(told, 3);
  EXPECT_FALSE(queue.push(request(3)));
  EXPECT_FALSE(queue.take());
}

}  // namespace
}  // namespace panicroom::control
