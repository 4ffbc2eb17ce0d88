// One boot, many trials: a machine that was booted until its kdump was armed, and a snapshot of that moment. Or, for
// trials that begin before the first instruction, a machine that has not been booted at all, for one trial.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/protocol/config.h"
#include "base/result.h"
#include "harness/director/capture_image_check.h"
#include "harness/observer/memory_truth.h"
#include "harness/observer/running_kernel.h"
#include "harness/scenario/scenario.h"
#include "harness/session/cancellation.h"
#include "hypervisor/guest_pace.h"
#include "hypervisor/machine.h"
#include "kernels/image/kernel_image.h"

namespace panicroom::harness {

using MachineFactory =
    std::function<Result<std::unique_ptr<hypervisor::Machine>>(const hypervisor::MachineConfig& config)>;

// What trials must have in common to share a machine.
struct MachineRecipe {
  const kernels::KernelImage* kernel = nullptr;  // Outlives every machine made of it; so does the next.
  const kernels::KernelImage* capture = nullptr;
  MachineSpec machine;
  From from = From::kArmed;
  std::vector<std::string> workload;
  std::string extra_cmdline;
  std::optional<SaveDump> save_dump;  // The capture kernel has makedumpfile, and saves the dump.
  bool lend_memory = true;  // False: whoever runs the machine cannot read its memory, and all comes through the port.
  std::vector<StartedWorkload> starts = {};

  friend bool operator==(const MachineRecipe&, const MachineRecipe&) = default;
};

// How the recipe's capture kernel is loaded: as the scenario says. Else with kexec_file_load(), as that has the least
// of panicroom's own in it; but where kernel code is slow with kexec_load(), because the other has the kernel compute
// digests of the whole image twice, and unpack it.
agent::KexecCall kexec_call(const MachineRecipe& recipe, hypervisor::GuestPace pace = {});

// What a machine of that recipe boots: the agent, its workloads, the capture kernel.
Result<std::vector<std::byte>> build_initramfs(const MachineRecipe& recipe, hypervisor::GuestPace pace = {});

struct BootOptions {
  MachineFactory factory;
  std::filesystem::path directory;  // Private to this machine; made if it is not there.
  std::filesystem::path log_directory;
  Cancellation& cancellation;
  std::function<void(std::string_view stage)> on_stage;
  hypervisor::GuestPace pace = {};  // The engine's.
};

class ArmedMachine {
 public:
  // Boots until the agent says "armed", finds the KASLR slide, takes the snapshot. A boot that ends without a word of
  // the agent's is tried once more, because this happens to hosts (kHost if it happens twice). If the agent says why it
  // cannot arm kdump, that is the error at once: kInvalidInput, since the kernel, its command line or crashkernel= is
  // to blame. With From::kBoot nothing of this: the machine stands before its first instruction.
  static Result<std::unique_ptr<ArmedMachine>> boot(const MachineRecipe& recipe, const BootOptions& options);

  // Back to the moment of the snapshot, stopped, with nobody held. kHost if there is none, as with From::kBoot.
  Result<> restore() { return restore(kArmedSnapshot); }
  // The same for a snapshot that was taken since, by its name.
  Result<> restore(const std::string& snapshot);
  static constexpr const char* kArmedSnapshot = "armed";

  [[nodiscard]] hypervisor::Machine& machine() { return *machine_; }
  [[nodiscard]] const RunningKernel& kernel() const { return kernel_; }
  // From its first instruction until it was armed; none if it was not.
  [[nodiscard]] std::chrono::nanoseconds boot_time() const { return boot_time_; }
  [[nodiscard]] hypervisor::GuestPace pace() const { return pace_; }
  // How its capture kernel is loaded.
  [[nodiscard]] agent::KexecCall kexec() const { return kexec_; }
  [[nodiscard]] CaptureImageCheck& image_check() { return image_check_; }
  [[nodiscard]] const MemoryPlan& memory() const { return memory_; }
  // Where the recipe's starts wait, in their order.
  [[nodiscard]] const std::vector<Gpa>& start_pages() const { return start_pages_; }

 private:
  struct Booted;
  ArmedMachine(Booted booted, const MachineRecipe& recipe, const BootOptions& options);
  static Result<std::unique_ptr<ArmedMachine>> try_boot(const MachineRecipe& recipe, const BootOptions& options,
                                                        int attempt);

  std::unique_ptr<hypervisor::Machine> machine_;
  Cancellation::Attachment attachment_;
  RunningKernel kernel_;
  std::chrono::nanoseconds boot_time_;
  hypervisor::GuestPace pace_;
  agent::KexecCall kexec_;
  CaptureImageCheck image_check_;
  MemoryPlan memory_;
  std::vector<Gpa> start_pages_;
  bool has_snapshot_ = false;
};

}  // namespace panicroom::harness
