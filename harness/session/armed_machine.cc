#include "harness/session/armed_machine.h"

#include <optional>

#include "agent/initramfs/initramfs.h"
#include "agent/protocol/config.h"
#include "agent/protocol/frame.h"
#include "base/file.h"
#include "harness/director/agent_log.h"
#include "harness/director/capture_console.h"
#include "harness/plan/sample_plan.h"
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
Result<Boot> watch_boot(Machine& machine, LogFile& console_log, LogFile& agent_log) {
  Boot boot;
  boot.console.begin();
  agent::FrameDecoder frames;
  const auto limit = Clock::now() + kBootLimit;
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
      boot.end = fmt::format("not armed after {} minutes", kBootLimit.count());
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

// A kernel without a purgatory of the kind that checks has nothing to be spared.
std::optional<kernels::Purgatory> purgatory_of(const kernels::KernelImage& image) {
  const auto purgatory = kernels::find_purgatory(image);
  return purgatory ? std::optional(*purgatory) : std::nullopt;
}

}  // namespace

Result<std::vector<std::byte>> build_initramfs(const MachineRecipe& recipe) {
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
  config.capture_command_line = capture_cmdline(recipe.lend_memory, recipe.save_dump);
  const auto capture_kernel = TRY(read_file(recipe.capture->path()));
  std::vector<agent::ProgramFile> programs;
  if (recipe.save_dump) {
    programs = TRY_CONTEXT("the dump is to be saved by makedumpfile (package makedumpfile)",
                           agent::program_with_libraries(std::string(agent::kMakedumpfilePath)));
  }
  const auto capture_initrd =
      TRY(agent::capture_initramfs(plan_samples(*recipe.kernel, recipe.machine.memory_bytes), programs));
  return agent::first_initramfs({.config = config, .capture_kernel = capture_kernel, .capture_initrd = capture_initrd});
}

ArmedMachine::ArmedMachine(std::unique_ptr<Machine> machine, Cancellation& cancellation, RunningKernel kernel,
                           std::chrono::nanoseconds boot_time, MemoryPlan memory, std::vector<Gpa> start_pages)
    : machine_(std::move(machine)),
      attachment_(cancellation, *machine_),
      kernel_(kernel),
      boot_time_(boot_time),
      image_check_(purgatory_of(kernel.image())),
      memory_(std::move(memory)),
      start_pages_(std::move(start_pages)) {}

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
  const auto initramfs = TRY(build_initramfs(recipe));
  config.initramfs = config.directory / "initramfs";
  TRY(write_file(config.initramfs, initramfs));
  config.cmdline = first_cmdline(recipe.machine, recipe.extra_cmdline, recipe.from);

  if (recipe.from == From::kBoot) {
    auto machine = TRY(options.factory(config));
    MemoryPlan memory{plan_samples(*recipe.kernel, recipe.machine.memory_bytes), {}};
    return std::unique_ptr<ArmedMachine>(new ArmedMachine(std::move(machine), options.cancellation,
                                                          RunningKernel(*recipe.kernel, KaslrSlide{0}), {},
                                                          std::move(memory), {}));
  }
  options.on_stage(attempt == 1 ? "booting" : "booting again");
  auto machine = TRY(options.factory(config));
  {
    std::optional<Cancellation::Attachment> attachment(std::in_place, options.cancellation, *machine);
    const auto started = Clock::now();
    Boot boot = TRY(watch_boot(*machine, console_log, agent_log));
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
    const RunningKernel kernel(*recipe.kernel, slide);
    MemoryPlan memory{plan_samples(*recipe.kernel, recipe.machine.memory_bytes), std::move(boot.workload_pages)};
    auto armed = std::unique_ptr<ArmedMachine>(new ArmedMachine(
        std::move(machine), options.cancellation, kernel, boot_time, std::move(memory), std::move(boot.start_pages)));
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
