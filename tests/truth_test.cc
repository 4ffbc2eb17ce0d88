// The truth of a dump, on a real kernel: a true dump passes every check, and one that is made untrue between the guest
// and the judge is caught, and what is wrong with it is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <iostream>

#include "harness/scenario/parser.h"
#include "harness/session/engine.h"
#include "harness/session/runner.h"
#include "tests/command_line.h"
#include "tests/mutating_machine.h"

namespace panicroom::tests {
namespace {

using agent::v1::Message;
using hypervisor::Registers;
using testing::HasSubstr;
using Armed = std::vector<Registers>;

struct Case {
  std::string what;
  v1::Outcome outcome;
  std::string detail;
  Mutation mutate;
};

bool is_note(const Message& message, std::uint32_t number) {
  return message.has_prstatus() && message.prstatus().index() == number;
}

// The whole of a text field with `from` replaced, once.
void replace(std::string& text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

std::vector<Case> cases() {
  return {
      {"nothing", v1::OUTCOME_DUMPED, "", [](Message&, const Armed&) { return true; }},
      {"one bit of RBX of the CPU that was stopped", v1::OUTCOME_DUMP_INCOMPLETE, "registers of CPU 1 are not true",
       [](Message& message, const Armed&) {
         if (!is_note(message, 1)) return true;
         auto& registers = *message.mutable_prstatus()->mutable_registers();
         registers.set_rbx(registers.rbx() ^ 0x100);
         return true;
       }},
      {"one bit of R13 of the CPU that panicked", v1::OUTCOME_DUMP_INCOMPLETE, "registers of CPU 0 are not true",
       [](Message& message, const Armed&) {
         if (!is_note(message, 0)) return true;
         auto& registers = *message.mutable_prstatus()->mutable_registers();
         registers.set_r13(registers.r13() ^ (1ULL << 63));
         return true;
       }},
      {"one bit of the task's GS base", v1::OUTCOME_DUMP_INCOMPLETE, "registers of CPU 1 are not true",
       [](Message& message, const Armed&) {
         if (!is_note(message, 1)) return true;
         auto& registers = *message.mutable_prstatus()->mutable_registers();
         registers.set_gs_base(registers.gs_base() ^ 0x1000);
         return true;
       }},
      {"CPU 1's note is dropped", v1::OUTCOME_DUMP_INCOMPLETE, "CPU 1 has no registers in the dump",
       [](Message& message, const Armed&) {
         if (message.has_judged()) message.mutable_judged()->set_cpus_with_registers(1);
         return !is_note(message, 1);
       }},
      {"CPU 1's registers of a moment before the crash", v1::OUTCOME_DUMP_INCOMPLETE,
       "registers of CPU 1 are stale: those at \"armed\"",
       [](Message& message, const Armed& armed) {
         if (!is_note(message, 1)) return true;
         auto& note = *message.mutable_prstatus()->mutable_registers();
         const Registers& from = armed.at(1);
         note.set_rax(from.rax);
         note.set_rbx(from.rbx);
         note.set_rcx(from.rcx);
         note.set_rdx(from.rdx);
         note.set_rsi(from.rsi);
         note.set_rdi(from.rdi);
         note.set_rbp(from.rbp);
         note.set_rsp(from.rsp);
         note.set_r8(from.r8);
         note.set_r9(from.r9);
         note.set_r10(from.r10);
         note.set_r11(from.r11);
         note.set_r12(from.r12);
         note.set_r13(from.r13);
         note.set_r14(from.r14);
         note.set_r15(from.r15);
         note.set_rip(from.rip);
         note.set_rflags(from.rflags);
         note.set_cs(from.cs);
         note.set_ss(from.ss);
         return true;
       }},
      {"one page of the kernel", v1::OUTCOME_DUMP_INVALID, "memory: kernel",
       [done = false](Message& message, const Armed&) mutable {
         if (!message.has_samples()) return true;
         for (auto& sample : *message.mutable_samples()->mutable_samples()) {
           if (done || sample.kind() != 1) continue;
           sample.set_blocks(2, sample.blocks(2) ^ 1);
           done = true;
         }
         return true;
       }},
      {"a workload's page", v1::OUTCOME_DUMP_INVALID, "memory: workload",
       [](Message& message, const Armed&) {
         if (!message.has_samples()) return true;
         for (auto& sample : *message.mutable_samples()->mutable_samples()) {
           if (sample.kind() == 6) sample.set_blocks(0, sample.blocks(0) ^ 1);
         }
         return true;
       }},
      {"another panic message", v1::OUTCOME_DUMP_INVALID, "panic message",
       [](Message& message, const Armed&) {
         if (message.has_dead_log()) {
           replace(*message.mutable_dead_log()->mutable_text(), "not syncing: single", "not syncing: double");
         }
         return true;
       }},
      {"another CPU in the log", v1::OUTCOME_DUMP_INVALID, "crashing CPU",
       [](Message& message, const Armed&) {
         if (message.has_dead_log()) replace(*message.mutable_dead_log()->mutable_text(), "CPU: 0 PID", "CPU: 1 PID");
         return true;
       }},
      {"another KASLR slide", v1::OUTCOME_DUMP_INVALID, "KERNELOFFSET",
       [](Message& message, const Armed&) {
         if (message.has_vmcoreinfo()) {
           replace(*message.mutable_vmcoreinfo()->mutable_text(), "KERNELOFFSET=", "KERNELOFFSET=1");
         }
         return true;
       }},
      {"a PT_LOAD that is a megabyte short", v1::OUTCOME_DUMP_INVALID, "memory map",
       [](Message& message, const Armed&) {
         // The first one may be that of the kernel's image, which lies within another.
         if (message.has_load()) {
           message.mutable_load()->set_bytes(message.load().bytes() -
                                             std::min<std::uint64_t>(message.load().bytes(), 1u << 20));
         }
         return true;
       }},
  };
}

TEST(Truth, EveryMutationIsCaughtAndNamedAndATrueDumpPasses) {
  const auto kernel_path = test_kernel();
  if (!kernel_path) GTEST_SKIP() << no_kernel();
  const Scratch scratch;
  const std::array files = {catalogue() / "single-panic.yaml"};
  auto parsed = harness::load(files);
  ASSERT_TRUE(parsed.diagnostics.empty());
  auto image = kernels::KernelImage::load(*kernel_path);
  ASSERT_TRUE(image) << image.error().message();
  const auto kernel = std::make_shared<const kernels::KernelImage>(*std::move(image));
  v1::Report report;
  const auto engine = harness::make_engine("qemu", *report.mutable_host());
  ASSERT_TRUE(engine) << engine.error().message();

  // One machine, one trial for each; which it is, the capture kernels tell by beginning.
  auto all = cases();
  std::size_t begun = 0;
  const Mutation mutation = [&](Message& message, const Armed& armed) {
    if (message.has_hello()) ++begun;
    return begun > all.size() || all.at(begun - 1).mutate(message, armed);
  };
  harness::RunRequest request;
  request.scenarios = std::move(parsed.scenarios);
  request.kernels = {
      {kernel->release(),
       [kernel](const harness::StageSink&) -> Result<std::shared_ptr<const kernels::KernelImage>> { return kernel; }}};
  request.repeat = static_cast<std::uint32_t>(all.size());
  request.engine = engine->name;
  request.factory = [&](const hypervisor::MachineConfig& config) -> Result<std::unique_ptr<hypervisor::Machine>> {
    return std::make_unique<MutatingMachine>(TRY(engine->factory(config)), mutation);
  };
  request.out = scratch.path() / "out";
  request.directory = scratch.path() / "machines";
  harness::Cancellation cancellation;
  const auto progress = harness::make_progress(std::cerr, {});
  const auto ran = harness::run_scenarios(request, {}, *progress, cancellation, report);
  ASSERT_TRUE(ran) << ran.error().message();

  ASSERT_EQ(report.runs_size(), static_cast<int>(all.size()));
  for (std::size_t number = 0; number < all.size(); ++number) {
    const auto& run = report.runs(static_cast<int>(number));
    SCOPED_TRACE(all[number].what + ": " + run.detail());
    EXPECT_EQ(run.outcome(), all[number].outcome);
    EXPECT_THAT(run.detail(), HasSubstr(all[number].detail));
    if (all[number].outcome == v1::OUTCOME_DUMPED) {
      for (const auto& check : run.dump().checks()) EXPECT_TRUE(check.ok()) << check.name() << ": " << check.actual();
      EXPECT_GE(run.dump().checks_size(), 18) << "not every comparison was made";
    }
  }
}

}  // namespace
}  // namespace panicroom::tests
