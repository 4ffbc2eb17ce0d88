#include "harness/session/armed_machine.h"

#include <optional>

#include "agent/initramfs/initramfs.h"
#include "agent/protocol/config.h"
#include "agent/protocol/frame.h"
#include "base/file.h"
#include "harness/director/agent_log.h"
#include "harness/director/capture_console.h"
#include "harness/plan/sample_plan.h"
#include "harness/session/capture_vmlinux.h"
#include "harness/session/kernel_cmdline.h"
#include "harness/session/log_file.h"
#include "harness/session/running_slide.h"
#include "kernels/purgatory/purgatory.h"

namespace panicroom::harness {
namespace {

using hypervisor::Clock;
using hypervisor::Event;
using hypervisor::Machine;

// Ten times what a boot takes on a slow host under emulation: long enough to be no opinion on the host's speed.
constexpr auto kBootLimit = std::chrono::minutes(5);
// The same where kernel code is slow. Such a boot takes a minute or two, because the kernel is spared much of it, and a
// person who waits for one that hangs should not wait for hours: not GuestPace::allow().
constexpr auto kSlowBootLimit = std::chrono::minutes(20);
constexpr auto kPauseLimit = std::chrono::seconds(30);

// What a boot came to: armed, or why not.
struct Boot {
  bool armed = false;
  std::optional<std::string> refusal;  // The agent's own words.
  std::string end;                     // How it ended, if neither.
  std::vector<Gpa> workload_pages;
  std::vector<Gpa> start_pages;
  CaptureConsole console;  // Its last line says how far the boot came.
};

// Runs the machine until the boot is decided. The machine may be running when this returns.
Result<Boot> watch_boot(Machine& machine, hypervisor::GuestPace pace, LogFile& console_log, LogFile& agent_log) {
  Boot boot;
  boot.console.begin();
  agent::FrameDecoder frames;
  const auto boot_limit = pace.slow_kernel_code() ? kSlowBootLimit : kBootLimit;
  const auto limit = Clock::now() + boot_limit;
  TRY(machine.resume());
  while (true) {
    const Event event = machine.next_event(limit);
    if (const auto* output = std::get_if<hypervisor::Output>(&event)) {
      if (output->stream == hypervisor::Stream::kConsole) {
        console_log.write(output->bytes);
        boot.console.feed(output->bytes);
        continue;
      }
      for (const auto& received : frames.feed(as_bytes(output->bytes))) {
        const auto* message = std::get_if<agent::v1::Message>(&received);
        agent_log.write(message ? describe(*message) : agent::describe(std::get<agent::ProtocolError>(received)));
        agent_log.write("\n");
        if (message == nullptr) continue;
        if (message->kind_case() == agent::v1::Message::kFailed) boot.refusal = message->failed().text();
        if (message->kind_case() == agent::v1::Message::kArmed) {
          boot.armed = true;
          for (const auto page : message->armed().workload_pages()) boot.workload_pages.push_back({page});
          for (const auto page : message->armed().start_pages()) boot.start_pages.push_back({page});
        }
      }
      if (boot.armed || boot.refusal) return boot;
      continue;
    }
    if (std::holds_alternative<hypervisor::Cancelled>(event)) return Error(ErrorKind::kCancelled, "cancelled");
    if (const auto* lost = std::get_if<hypervisor::MachineLost>(&event)) {
      boot.end = lost->reason.message();
    } else if (std::holds_alternative<hypervisor::GuestReset>(event)) {
      boot.end = "the machine was reset";
    } else if (std::holds_alternative<hypervisor::GuestShutdown>(event)) {
      boot.end = "the machine powered itself off";
    } else if (std::holds_alternative<hypervisor::DeadlinePassed>(event)) {
      boot.end = fmt::format("not armed after {} minutes", boot_limit.count());
    } else {
      boot.end = "the machine stopped by itself";
    }
    return boot;
  }
}

Result<> stop(Machine& machine, LogFile& console_log) {
  TRY(machine.pause());
  const auto limit = Clock::now() + kPauseLimit;
  while (true) {
    const Event event = machine.next_event(limit);
    if (const auto* output = std::get_if<hypervisor::Output>(&event)) {
      if (output->stream == hypervisor::Stream::kConsole) console_log.write(output->bytes);
      continue;
    }
    if (std::holds_alternative<hypervisor::Paused>(event)) return {};
    if (std::holds_alternative<hypervisor::Cancelled>(event)) return Error(ErrorKind::kCancelled, "cancelled");
    if (const auto* lost = std::get_if<hypervisor::MachineLost>(&event)) return lost->reason;
    return host_error("the armed machine could not be stopped");
  }
}

// A kernel without a purgatory of the kind that checks has nothing to be spared, nor has one whose own purgatory is not
// used: what kexec_load() loads brings another along.
std::optional<kernels::Purgatory> purgatory_of(const kernels::KernelImage& image, agent::KexecCall call) {
  if (call == agent::KexecCall::kLoad) return std::nullopt;
  const auto purgatory = kernels::find_purgatory(image);
  return purgatory ? std::optional(*purgatory) : std::nullopt;
}

}  // namespace

agent::KexecCall kexec_call(const MachineRecipe& recipe, hypervisor::GuestPace pace) {
  return recipe.machine.kexec.value_or(pace.slow_kernel_code() ? agent::KexecCall::kLoad : agent::KexecCall::kFileLoad);
}

Result<std::vector<std::byte>> build_initramfs(const MachineRecipe& recipe, hypervisor::GuestPace pace) {
  agent::Config config;
  for (std::uint32_t cpu = 0; cpu < recipe.workload.size(); ++cpu) {
    const auto* workload = agent::find_workload(recipe.workload[cpu]);
    if (workload == nullptr) return invalid_input("the agent has no workload \"{}\"", recipe.workload[cpu]);
    config.workloads.push_back({VcpuId{cpu}, workload});
  }
  for (const auto& start : recipe.starts) {
    const auto* workload = agent::find_workload(start.workload);
    if (workload == nullptr) return invalid_input("the agent has no workload \"{}\" to start", start.workload);
    config.starts.push_back({start.cpu, workload});
  }
  config.capture_command_line = capture_cmdline(recipe.lend_memory, recipe.save_dump, pace);
  config.kexec = kexec_call(recipe, pace);
  config.slowdown = pace.slowdown;
  std::vector<std::byte> bzimage;
  std::vector<std::byte> vmlinux;
  if (config.kexec == agent::KexecCall::kLoad) vmlinux = capture_vmlinux(recipe.capture->elf());
  // The workload calls kexec_file_load(), whatever loads the capture kernel.
  if (config.kexec == agent::KexecCall::kFileLoad || loads_kernels(config)) {
    bzimage = TRY(read_file(recipe.capture->path()));
  }
  std::vector<agent::ProgramFile> programs;
  if (recipe.save_dump) {
    programs = TRY_CONTEXT("the dump is to be saved by makedumpfile (package makedumpfile)",
                           agent::program_with_libraries(std::string(agent::kMakedumpfilePath)));
  }
  const auto capture_initrd =
      TRY(agent::capture_initramfs(plan_samples(*recipe.kernel, recipe.machine.memory_bytes), programs));
  return agent::first_initramfs(
      {.config = config, .capture_kernel = bzimage, .capture_vmlinux = vmlinux, .capture_initrd = capture_initrd});
}

struct ArmedMachine::Booted {
  std::unique_ptr<Machine> machine;
  RunningKernel kernel;
  std::chrono::nanoseconds boot_time;
  MemoryPlan memory;
  std::vector<Gpa> start_pages;
};

ArmedMachine::ArmedMachine(Booted booted, const MachineRecipe& recipe, const BootOptions& options)
    : machine_(std::move(booted.machine)),
      attachment_(options.cancellation, *machine_),
      kernel_(booted.kernel),
      boot_time_(booted.boot_time),
      pace_(options.pace),
      kexec_(kexec_call(recipe, options.pace)),
      image_check_(purgatory_of(kernel_.image(), kexec_)),
      memory_(std::move(booted.memory)),
      start_pages_(std::move(booted.start_pages)) {}

Result<std::unique_ptr<ArmedMachine>> ArmedMachine::boot(const MachineRecipe& recipe, const BootOptions& options) {
  auto first = try_boot(recipe, options, 1);
  if (first || first.error().kind() != ErrorKind::kHost) return first;
  auto second = try_boot(recipe, options, 2);
  if (second || second.error().kind() != ErrorKind::kHost) return second;
  return std::move(second).error().with_context(
      fmt::format("{} did not boot to the armed state in two attempts (logs in {})", recipe.kernel->release(),
                  options.log_directory.native()));
}

Result<std::unique_ptr<ArmedMachine>> ArmedMachine::try_boot(const MachineRecipe& recipe, const BootOptions& options,
                                                             int attempt) {
  auto console_log = TRY(LogFile::create(options.log_directory / fmt::format("boot-{}.console.log", attempt)));
  auto agent_log = TRY(LogFile::create(options.log_directory / fmt::format("boot-{}.agent.log", attempt)));

  hypervisor::MachineConfig config;
  config.directory = options.directory / fmt::format("boot-{}", attempt);
  TRY(make_directories(config.directory));
  config.name = config.directory.parent_path().filename().native() + fmt::format("-{}", attempt);
  config.vcpus = recipe.machine.vcpus;
  config.memory_bytes = recipe.machine.memory_bytes;
  config.pin = recipe.machine.pin;
  config.kernel = recipe.kernel->path();
  const auto initramfs = TRY(build_initramfs(recipe, options.pace));
  config.initramfs = config.directory / "initramfs";
  TRY(write_file(config.initramfs, initramfs));
  config.cmdline = first_cmdline(recipe.machine, recipe.extra_cmdline, recipe.from, options.pace);

  if (recipe.from == From::kBoot) {
    auto machine = TRY(options.factory(config));
    Booted booted{.machine = std::move(machine),
                  .kernel = RunningKernel(*recipe.kernel, KaslrSlide{0}),
                  .boot_time = {},
                  .memory = {plan_samples(*recipe.kernel, recipe.machine.memory_bytes), {}},
                  .start_pages = {}};
    return std::unique_ptr<ArmedMachine>(new ArmedMachine(std::move(booted), recipe, options));
  }
  options.on_stage(attempt == 1 ? "booting" : "booting again");
  auto machine = TRY(options.factory(config));
  {
    std::optional<Cancellation::Attachment> attachment(std::in_place, options.cancellation, *machine);
    const auto started = Clock::now();
    Boot boot = TRY(watch_boot(*machine, options.pace, console_log, agent_log));
    if (boot.refusal) return invalid_input("{} cannot be armed: {}", recipe.kernel->release(), *boot.refusal);
    if (!boot.armed) {
      return host_error("{}; the console's last line: {}", boot.end,
                        boot.console.last_line().empty() ? "none" : boot.console.last_line());
    }
    if (boot.start_pages.size() != recipe.starts.size()) {
      return invalid_input(
          "{} cannot start workloads at a step: the agent told of {} of {} pages (CONFIG_PROC_PAGE_MONITOR?)",
          recipe.kernel->release(), boot.start_pages.size(), recipe.starts.size());
    }
    const auto boot_time = Clock::now() - started;
    options.on_stage("armed");
    TRY(stop(*machine, console_log));
    const auto slide = TRY_CONTEXT("finding the KASLR slide", find_running_slide(*machine, *recipe.kernel));
    options.on_stage("snapshot");
    TRY(machine->snapshot(kArmedSnapshot));
    TRY(console_log.status());
    TRY(agent_log.status());
    // One machine is attached once; a request in between is seen when the ArmedMachine attaches it again.
    attachment.reset();
    Booted booted{.machine = std::move(machine),
                  .kernel = RunningKernel(*recipe.kernel, slide),
                  .boot_time = boot_time,
                  .memory = {plan_samples(*recipe.kernel, recipe.machine.memory_bytes), std::move(boot.workload_pages)},
                  .start_pages = std::move(boot.start_pages)};
    auto armed = std::unique_ptr<ArmedMachine>(new ArmedMachine(std::move(booted), recipe, options));
    armed->has_snapshot_ = true;
    return armed;
  }
}

Result<> ArmedMachine::restore(const std::string& snapshot) {
  if (!has_snapshot_) return host_error("this machine was never armed, and has no snapshot to go back to");
  TRY(machine_->restore(snapshot));
  // What is still to be reported was written in the trial before, and says nothing about the next.
  while (true) {
    const Event event = machine_->next_event(Clock::now());
    if (std::holds_alternative<hypervisor::DeadlinePassed>(event)) return {};
    if (std::holds_alternative<hypervisor::Cancelled>(event)) return Error(ErrorKind::kCancelled, "cancelled");
    if (const auto* lost = std::get_if<hypervisor::MachineLost>(&event)) return lost->reason;
  }
}

}  // namespace panicroom::harness
