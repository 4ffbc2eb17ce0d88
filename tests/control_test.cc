// Interactive control on a real kernel: scenarios written as client programs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "harness/service/server.h"
#include "harness/session/engine.h"
#include "tests/command_line.h"
#include "tests/control_client.h"

namespace panicroom::tests {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ControlTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto kernel = test_kernel();
    if (!kernel) GTEST_SKIP() << no_kernel();
    // What guests' QEMU is started with names this folder.
    fs::create_directory(runtime_);
    ::setenv("XDG_RUNTIME_DIR", runtime_.c_str(), 1);
    service::ServerOptions options;
    options.state = scratch_.path() / "s";
    options.policy.kernel_folders = {kernel->parent_path()};
    options.program = {program()};
    options.end_leftovers = harness::end_leftovers;
    options.min_free_bytes = 0;
    options.log = [this](const service::LogEntry& entry) {
      const std::lock_guard lock(mutex_);
      log_ += entry.message + "\n";
      logged_.notify_all();
    };
    auto server = service::Server::start(std::move(options));
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);

    open_.set_kernel(kernel->native());
    open_.mutable_machine()->set_vcpus(2);
    open_.mutable_machine()->set_memory("512M");
    open_.mutable_machine()->set_crashkernel("128M");
    (*open_.mutable_workload())["cpu0"] = "syscalls";
    (*open_.mutable_workload())["cpu1"] = "syscalls";
  }
  void TearDown() override {
    if (server_) server_->stop();
    EXPECT_EQ(guests(), 0U);
  }

  [[nodiscard]] std::size_t guests() const { return processes_with(runtime_.native()); }

  Scratch scratch_;
  fs::path runtime_ = scratch_.path() / "r";
  std::mutex mutex_;
  std::condition_variable logged_;
  std::string log_;  // The server's.
  std::unique_ptr<service::Server> server_;
  v1::OpenOperation open_;
};

// scenarios/second-panic-must-not-stop-the-dump.yaml
TEST_F(ControlTest, ASecondPanicMustNotStopTheDump) {
  ControlClient client(server_->addresses().front());
  const auto opened = client.open(open_);
  ASSERT_TRUE(opened.has_opened()) << opened.error().message();
  EXPECT_EQ(opened.opened().vcpus(), 2U);
  EXPECT_GT(guests(), 0U);

  client.run_to(0, "workload");
  client.panic(0, "first");
  client.run_to(0, "__crash_kexec/lock-taken");
  client.hold(0, true);
  client.run_to(1, "workload");
  client.panic(1, "second");
  EXPECT_THAT(client.run_to(1, "panic_smp_self_stop").place(), StartsWith("panic_smp_self_stop"));
  client.hold(0, false);
  const auto run = client.await(60);
  EXPECT_EQ(run.outcome(), v1::OUTCOME_DUMPED) << run.detail();
  EXPECT_EQ(run.dump().panic_cpu(), 0);
  EXPECT_EQ(run.dump().cpus_with_registers(), 2U);
  EXPECT_EQ(run.panic_message().text(), "first");
  EXPECT_THAT(client.stages(), AllOf(Contains("panic-entered"), Contains("jump"), Contains("capture-entered"),
                                     Contains("vmcore-opened"), Contains("dump-verified")));

  // Another trial of the same machine: nothing of the crash is left.
  v1::ControlRequest back;
  back.mutable_restore_snapshot();
  ASSERT_TRUE(client.call(back).has_done());
  EXPECT_EQ(client.await(60).outcome(), v1::OUTCOME_NO_PANIC);

  // scenarios/outcomes/crash-nmi-dropped.yaml: a rule that is made while the machine stands at the step's place.
  ASSERT_TRUE(client.call(back).has_done());
  client.run_to(0, "workload");
  v1::ControlRequest drop;
  auto& rule = *drop.mutable_set_stop_ipi()->add_rules();
  rule.set_kind("nmi");
  rule.set_to(1);
  rule.set_deliver("drop");
  ASSERT_TRUE(client.call(drop).has_done());
  client.panic(0, "dropped");
  const auto incomplete = client.await(60);
  EXPECT_EQ(incomplete.outcome(), v1::OUTCOME_DUMP_INCOMPLETE) << incomplete.detail();
  EXPECT_THAT(incomplete.dump().missing_cpus(), ElementsAre(1));

  EXPECT_TRUE(client.close().ok());
  EXPECT_EQ(guests(), 0U);
}

// scenarios/second-panic-stops-the-dump.yaml: the control. With the gate open, the same race costs the dump.
TEST_F(ControlTest, ThroughAnOpenGateItDoes) {
  ControlClient client(server_->addresses().front());
  open_.add_unfix("panic-gate");
  const auto opened = client.open(open_);
  ASSERT_TRUE(opened.has_opened()) << opened.error().message();
  client.run_to(0, "workload");
  client.panic(0, "first");
  client.run_to(0, "__crash_kexec/lock-taken");
  client.hold(0, true);
  client.run_to(1, "workload");
  client.panic(1, "second");
  client.run_to(1, "ipi:nmi");
  client.hold(0, false);
  const auto run = client.await(60);
  EXPECT_EQ(run.outcome(), v1::OUTCOME_RESET) << run.detail();
  EXPECT_FALSE(run.has_dump());
  EXPECT_THAT(client.stages(), AllOf(Contains("gate-overridden"), Not(Contains("capture-entered"))));
  EXPECT_TRUE(client.close().ok());
}

// The outcome is asked for when nothing would stop the machine any more, and a mistake meanwhile does not stop it
// either.
TEST_F(ControlTest, AnOutcomeIsAwaitedOfAMachineThatRuns) {
  ControlClient client(server_->addresses().front());
  const auto opened = client.open(open_);
  ASSERT_TRUE(opened.has_opened()) << opened.error().message();
  client.resume();
  v1::ControlRequest await;
  await.mutable_await_outcome()->mutable_timeout()->set_seconds(5);
  const auto awaited = client.begin(await);
  v1::ControlRequest back;
  back.mutable_restore_snapshot()->set_name("nope");
  EXPECT_TRUE(client.call(back).has_error());
  const auto decided = client.wait_for(awaited);
  ASSERT_TRUE(decided.has_decided()) << decided.error().message();
  EXPECT_EQ(decided.decided().run().outcome(), v1::OUTCOME_NO_PANIC) << decided.decided().run().detail();
  EXPECT_TRUE(client.close().ok());
}

TEST_F(ControlTest, ASessionThatDiesTakesItsGuestWithIt) {
  ControlClient client(server_->addresses().front());
  const auto opened = client.open(open_);
  ASSERT_TRUE(opened.has_opened()) << opened.error().message();
  EXPECT_GT(guests(), 0U);
  const auto kill = fmt::format("pkill -KILL -f '[c]ontrol-session --logs={}/'", scratch_.path().native());
  ASSERT_EQ(std::system(kill.c_str()), 0);
  // OK if the server sees this side's end first.
  EXPECT_THAT(client.close().error_code(), testing::AnyOf(grpc::StatusCode::OK, grpc::StatusCode::ABORTED));
  EXPECT_EQ(guests(), 0U);
}

TEST_F(ControlTest, TheMachineCanBeLookedAtAndChanged) {
  auto client = std::make_unique<ControlClient>(server_->addresses().front());
  const auto opened = client->open(open_);
  ASSERT_TRUE(opened.has_opened()) << opened.error().message();

  v1::ControlRequest look_up;
  look_up.mutable_look_up_symbol()->set_name("linux_banner");
  const auto banner = client->call(look_up);
  ASSERT_TRUE(banner.has_symbol()) << banner.error().message();
  v1::ControlRequest read;
  auto& at = *read.mutable_read_memory()->mutable_at()->mutable_virtual_address();
  read.mutable_read_memory()->set_length(64);
  at.set_address(banner.symbol().address());
  EXPECT_THAT(client->call(read).memory().data(), StartsWith("Linux version " + opened.opened().kernel_release()));

  // Both ways: what is written is read, and a CPU that is sent elsewhere is there.
  const auto stop = client->run_to(1, "workload");
  v1::ControlRequest registers;
  registers.mutable_read_registers()->set_cpu(1);
  const auto before = client->call(registers).registers();
  EXPECT_EQ(before.rip(), stop.rip());
  v1::ControlRequest write;
  write.mutable_write_registers()->set_cpu(1);
  write.mutable_write_registers()->mutable_registers()->set_r15(0x1234);
  ASSERT_TRUE(client->call(write).has_done());
  auto expected = before;
  expected.set_r15(0x1234);
  EXPECT_EQ(client->call(registers).registers().SerializeAsString(), expected.SerializeAsString());
  v1::ControlRequest poke;
  auto& stack = *poke.mutable_write_memory()->mutable_at()->mutable_virtual_address();
  stack.set_cpu(1);
  stack.set_address(before.rsp() - 256);
  poke.mutable_write_memory()->set_data("panicroom");
  ASSERT_TRUE(client->call(poke).has_done());
  *read.mutable_read_memory()->mutable_at()->mutable_virtual_address() = stack;
  read.mutable_read_memory()->set_length(9);
  EXPECT_EQ(client->call(read).memory().data(), "panicroom");
  v1::ControlRequest step;
  step.mutable_step()->set_cpu(1);
  ASSERT_TRUE(client->call(step).has_done());
  EXPECT_NE(client->call(registers).registers().rip(), stop.rip());

  // A snapshot holds what was written; a machine that runs is not looked at.
  v1::ControlRequest keep;
  keep.mutable_take_snapshot()->set_name("mine");
  ASSERT_TRUE(client->call(keep).has_done());
  v1::ControlRequest resume;
  resume.mutable_resume();
  ASSERT_TRUE(client->call(resume).has_done());
  EXPECT_EQ(client->call(registers).error().code(), v1::ControlError::CODE_PRECONDITION);
  v1::ControlRequest pause;
  pause.mutable_pause();
  ASSERT_TRUE(client->call(pause).has_done());
  EXPECT_TRUE(client->call(registers).has_registers());
  v1::ControlRequest back;
  back.mutable_restore_snapshot()->set_name("mine");
  ASSERT_TRUE(client->call(back).has_done());
  EXPECT_EQ(client->call(read).memory().data(), "panicroom");

  // A client that is gone without a word takes its machine with it.
  ASSERT_TRUE(client->call(resume).has_done());
  EXPECT_GT(guests(), 0U);
  client.reset();
  {
    std::unique_lock lock(mutex_);
    logged_.wait(lock, [this] { return log_.find("has ended") != std::string::npos; });
    EXPECT_THAT(log_, HasSubstr("(by the client); its process ended with status 0"));
  }
  EXPECT_EQ(guests(), 0U);
}

}  // namespace
}  // namespace panicroom::tests
