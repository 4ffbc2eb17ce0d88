#include "agent/initramfs/initramfs.h"

#include <filesystem>
#include <set>
#include <string_view>

#include "agent/initramfs/newc_archive.h"
#include "agent/protocol/packed.h"
#include "agent/protocol/sample_plan.h"

extern "C" {
// agent_binary.S
extern const std::byte panicroom_agent_binary_begin[];
extern const std::byte panicroom_agent_binary_end[];
}

namespace panicroom::agent {
namespace {

// What both kernels need.
Result<> add_system(NewcArchive& archive) {
  TRY(archive.open());
  for (const std::string_view directory : {"/dev", "/proc", "/sys"}) TRY(archive.add_directory(directory));
  // The kernel opens it for init before devtmpfs is mounted.
  TRY(archive.add_character_device("/dev/console", 5, 1));
  return archive.add_file("/init", 0755, agent_binary());
}

// With the folders that they are in, and /tmp, which programs expect.
Result<> add_programs(NewcArchive& archive, const std::vector<ProgramFile>& programs) {
  std::set<std::filesystem::path> folders{"/", "/etc"};
  const auto add_folder = [&](const auto& self, const std::filesystem::path& folder) -> Result<> {
    if (folders.contains(folder)) return {};
    TRY(self(self, folder.parent_path()));
    folders.insert(folder);
    return archive.add_directory(folder.native());
  };
  TRY(add_folder(add_folder, "/tmp"));
  for (const auto& file : programs) {
    TRY(add_folder(add_folder, std::filesystem::path(file.path).parent_path()));
    TRY(archive.add_file(file.path, 0755, file.content));
  }
  return {};
}

}  // namespace

Bytes agent_binary() { return {panicroom_agent_binary_begin, panicroom_agent_binary_end}; }

Result<std::vector<std::byte>> capture_initramfs(const vmcore::SamplePlan& samples,
                                                 const std::vector<ProgramFile>& programs) {
  NewcArchive archive;
  TRY(add_system(archive));
  TRY(archive.add_directory("/etc"));
  TRY(archive.add_file(kSamplePlanPath, 0644, encode_sample_plan(samples)));
  if (!programs.empty()) TRY(add_programs(archive, programs));
  return archive.finish();
}

Result<std::vector<std::byte>> first_initramfs(const FirstInitramfs& content) {
  const std::vector<std::byte> config = TRY(encode_config(content.config));
  NewcArchive archive;
  TRY(add_system(archive));
  TRY(archive.add_directory("/etc"));
  TRY(archive.add_file(kConfigPath, 0644, config));
  TRY(archive.add_directory("/capture"));
  if (!content.capture_kernel.empty()) TRY(archive.add_file(kCaptureKernelPath, 0644, content.capture_kernel));
  if (!content.capture_vmlinux.empty()) {
    TRY(archive.add_file(kCaptureVmlinuxPath, 0644, TRY(pack(content.capture_vmlinux))));
  }
  TRY(archive.add_file(kCaptureInitrdPath, 0644, content.capture_initrd));
  return archive.finish();
}

}  // namespace panicroom::agent
