// panicroom_bench_machine SCENARIO KERNEL FOLDER: writes what `panicroom run` would boot for that scenario, so that it
// can be booted without panicroom: FOLDER/initramfs, and a word or a line each in FOLDER/cmdline, FOLDER/vcpus and
// FOLDER/memory (in KiB).
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <span>

#include "base/file.h"
#include "harness/scenario/parser.h"
#include "harness/session/armed_machine.h"
#include "harness/session/kernel_cmdline.h"

namespace panicroom {
namespace {

Result<> write_machine(const std::filesystem::path& scenario_file, const std::filesystem::path& kernel_file,
                       const std::filesystem::path& folder) {
  const std::array paths = {scenario_file};
  const auto parsed = harness::load(paths);
  if (!parsed.diagnostics.empty() || parsed.scenarios.size() != 1) {
    return invalid_input("{} is not one scenario without mistakes: see panicroom check", scenario_file.native());
  }
  const auto& scenario = parsed.scenarios.front();
  const auto kernel = TRY(kernels::KernelImage::load(kernel_file));
  const harness::MachineRecipe recipe{.kernel = &kernel,
                                      .capture = &kernel,
                                      .machine = scenario.machine,
                                      .workload = scenario.workload,
                                      .extra_cmdline = scenario.kernel_cmdline,
                                      .lend_memory = false,
                                      .starts = harness::starts(scenario)};
  TRY(make_directories(folder));
  const auto initramfs = TRY(harness::build_initramfs(recipe));
  TRY(write_file(folder / "initramfs", initramfs));
  TRY(write_file(folder / "cmdline", harness::first_cmdline(recipe.machine, recipe.extra_cmdline)));
  TRY(write_file(folder / "plain-cmdline", fmt::format("console=ttyS0 crashkernel={}K {}",
                                                       recipe.machine.crashkernel_bytes >> 10, recipe.extra_cmdline)));
  TRY(write_file(folder / "vcpus", fmt::format("{}", recipe.machine.vcpus)));
  return write_file(folder / "memory", fmt::format("{}", recipe.machine.memory_bytes >> 10));
}

int main_with(int argc, char** argv) {
  const std::span arguments(argv, static_cast<std::size_t>(argc));
  if (arguments.size() != 4) {
    fmt::print(stderr, "usage: {} SCENARIO KERNEL FOLDER\n", arguments[0]);
    return 2;
  }
  if (const auto written = write_machine(arguments[1], arguments[2], arguments[3]); !written) {
    fmt::print(stderr, "{}\n", written.error().message());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace panicroom

int main(int argc, char** argv) {
  try {
    return panicroom::main_with(argc, argv);
  } catch (...) {
    std::fputs("an exception: out of memory, most likely\n", stderr);
    return 1;
  }
}
