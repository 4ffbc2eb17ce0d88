#include "agent/kexec/crash_image.h"

#include <algorithm>
#include <utility>

#include "agent/kexec/capture_entry.h"
#include "agent/kexec/vmlinux.h"

namespace panicroom::kexec {
namespace {

constexpr PhysicalRange kLowMegabyte{{0}, {1 << 20}};
constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;

// In the segment of the boot_params, behind them.
constexpr std::size_t kCommandLineOffset = kBootParamsBytes;
constexpr std::size_t kSeedOffset = kCommandLineOffset + kCommandLineBytes;
constexpr std::size_t kBootSegmentBytes = kSeedOffset + kSeedDataBytes;

std::uint64_t pages_up(std::uint64_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

// The dump has no first megabyte: the capture kernel uses it, and kernels keep everything of theirs out of it.
std::vector<PhysicalRange> memory_to_dump(const PhysicalMap& machine) {
  auto memory = without(machine.ram, kLowMegabyte);
  for (const auto& crash : machine.crash_memory) memory = without(memory, crash);
  return memory;
}

struct Layout {
  std::uint64_t shift = 0;  // Of the kernel, from where it is linked. Modulo 2^64.
  PhysicalRange initrd;
  PhysicalRange boot;
  PhysicalRange entry;
  PhysicalRange core_header;
};

Result<Layout> lay_out(const PhysicalRange& crash, const Vmlinux& kernel, std::uint64_t initrd_bytes,
                       std::uint64_t core_header_bytes) {
  const std::uint64_t kernel_bytes = kernel.end() - kernel.begin();
  // The first place above the beginning that is a multiple of the alignment away from where it is linked.
  const std::uint64_t gap = (kernel.begin().value - crash.begin.value) % kKernelAlignment;
  const std::uint64_t others =
      pages_up(initrd_bytes) + pages_up(kBootSegmentBytes) + kPageBytes + pages_up(core_header_bytes);
  if (initrd_bytes > crash.size() || gap + kernel_bytes + others + kPageBytes > crash.size()) {
    return invalid_input(
        "the capture kernel takes {} MiB, its initramfs {} MiB and the crash memory has {}: raise machine.crashkernel",
        kernel_bytes / kMebibyte + 1, initrd_bytes / kMebibyte + 1, crash.size() / kMebibyte);
  }
  Layout layout;
  layout.shift = crash.begin.value + gap - kernel.begin().value;
  std::uint64_t top = crash.end.value / kPageBytes * kPageBytes;
  for (const auto& [range, bytes] : {std::pair{&layout.core_header, core_header_bytes},
                                     {&layout.entry, kPageBytes},
                                     {&layout.boot, std::uint64_t{kBootSegmentBytes}},
                                     {&layout.initrd, initrd_bytes}}) {
    top -= pages_up(bytes);
    *range = {{top}, {top + bytes}};
  }
  return layout;
}

}  // namespace

Result<CrashImage> build_crash_image(const CrashImageParts& parts) {
  if (parts.machine.crash_memory.empty()) return invalid_input("/proc/iomem tells of no crash memory");
  // With crashkernel=,high there is a second range, below 4 GiB: kernels are loaded into the other.
  const PhysicalRange crash = parts.machine.crash_memory.back();
  const Vmlinux kernel = TRY_CONTEXT("the capture kernel", read_vmlinux(parts.vmlinux));

  CrashImage image;
  auto core_header = TRY(build_core_header({.cpus = parts.cpu_notes,
                                            .vmcoreinfo = parts.vmcoreinfo,
                                            .kernel = parts.kernel,
                                            .memory = memory_to_dump(parts.machine)}));
  const auto layout = TRY(lay_out(crash, kernel, parts.initrd.size(), core_header.size()));

  const auto command_line = fmt::format("elfcorehdr={:#x} {}", layout.core_header.begin.value, parts.command_line);
  if (command_line.size() >= kCommandLineBytes) {
    return invalid_input("the capture kernel's command line is {} bytes long; at most {} fit", command_line.size(),
                         kCommandLineBytes - 1);
  }
  auto boot = TRY(build_boot_params({.running = parts.running_boot_params,
                                     .machine = parts.machine,
                                     .usable = {crash.begin, layout.core_header.begin},
                                     .command_line = layout.boot.begin + kCommandLineOffset,
                                     .initrd = layout.initrd,
                                     .seed_data = layout.boot.begin + kSeedOffset}));
  boot.resize(kBootSegmentBytes);
  std::ranges::copy(as_bytes(command_line), boot.begin() + kCommandLineOffset);
  std::ranges::copy(build_seed_data(parts.seed), boot.begin() + kSeedOffset);

  image.entry = layout.entry.begin;
  image.made.push_back(std::move(boot));
  image.made.push_back(capture_entry(layout.boot.begin, kernel.entry + layout.shift));
  image.made.push_back(std::move(core_header));
  for (const auto& part : kernel.parts) image.segments.push_back({part.content, part.at + layout.shift, part.bytes});
  const auto add = [&](Bytes content, const PhysicalRange& range) {
    if (range.size() > 0) image.segments.push_back({content, range.begin, pages_up(range.size())});
  };
  add(parts.initrd, layout.initrd);
  add(image.made[0], layout.boot);
  add(image.made[1], layout.entry);
  add(image.made[2], layout.core_header);
  return image;
}

}  // namespace panicroom::kexec
