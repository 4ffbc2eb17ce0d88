#include "agent/initramfs/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "agent/protocol/packed.h"
#include "agent/protocol/sample_plan.h"

namespace panicroom::agent {
namespace {

struct Member {
  mode_t mode = 0;
  time_t modified = 0;
  std::string content;
};

std::map<std::string, Member> members_of(Bytes bytes) {
  std::map<std::string, Member> members;
  const std::unique_ptr<archive, decltype(&archive_read_free)> reader(archive_read_new(), &archive_read_free);
  EXPECT_EQ(archive_read_support_format_cpio(reader.get()), ARCHIVE_OK);
  EXPECT_EQ(archive_read_open_memory(reader.get(), bytes.data(), bytes.size()), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  while (archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK) {
    Member member{archive_entry_mode(entry), archive_entry_mtime(entry), {}};
    member.content.resize(static_cast<std::size_t>(archive_entry_size(entry)));
    EXPECT_EQ(archive_read_data(reader.get(), member.content.data(), member.content.size()),
              static_cast<la_ssize_t>(member.content.size()));
    members.emplace(archive_entry_pathname(entry), std::move(member));
  }
  return members;
}

TEST(AgentBinary, IsAStaticX86Executable) {
  const auto header = load<Elf64_Ehdr>(agent_binary(), 0);
  ASSERT_TRUE(header);
  EXPECT_EQ(std::memcmp(header->e_ident, ELFMAG, SELFMAG), 0);
  EXPECT_EQ(header->e_machine, EM_X86_64);
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    const auto phdr = load<Elf64_Phdr>(agent_binary(), header->e_phoff + i * sizeof(Elf64_Phdr));
    ASSERT_TRUE(phdr);
    EXPECT_NE(phdr->p_type, static_cast<std::uint32_t>(PT_INTERP)) << "needs a dynamic loader, which no initramfs has";
  }
}

TEST(Initramfs, CaptureHasInitAndConsoleAndMountPoints) {
  const auto image = capture_initramfs({});
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(as_text(*image).substr(0, 6), "070701");
  const auto members = members_of(*image);
  ASSERT_TRUE(members.contains("init"));
  EXPECT_EQ(members.at("init").mode, static_cast<mode_t>(S_IFREG | 0755));
  EXPECT_EQ(members.at("init").content, as_text(agent_binary()));
  for (const char* directory : {"dev", "proc", "sys"}) {
    ASSERT_TRUE(members.contains(directory)) << directory;
    EXPECT_TRUE(S_ISDIR(members.at(directory).mode)) << directory;
  }
  ASSERT_TRUE(members.contains("dev/console"));
  EXPECT_TRUE(S_ISCHR(members.at("dev/console").mode));
  EXPECT_FALSE(members.contains("capture/kernel"));
  EXPECT_TRUE(members.contains(std::string(kSamplePlanPath.substr(1))));
}

TEST(Initramfs, CaptureHasOtherProgramsWithTheirFolders) {
  const auto image = capture_initramfs(
      {}, {{"/usr/bin/tool", {std::byte{1}}}, {"/usr/lib/lib.so", {std::byte{2}}}, {"/etc/tool", {std::byte{3}}}});
  ASSERT_TRUE(image) << image.error().message();
  const auto members = members_of(*image);
  for (const char* folder : {"tmp", "usr", "usr/bin", "usr/lib", "etc"}) {
    ASSERT_TRUE(members.contains(folder)) << folder;
    EXPECT_TRUE(S_ISDIR(members.at(folder).mode)) << folder;
  }
  ASSERT_TRUE(members.contains("usr/bin/tool"));
  EXPECT_EQ(members.at("usr/bin/tool").mode, static_cast<mode_t>(S_IFREG | 0755));
  EXPECT_EQ(members.at("usr/lib/lib.so").content, "\2");
}

TEST(Initramfs, FirstHasTheCaptureKernelAndTheConfiguration) {
  FirstInitramfs content;
  content.config.capture_command_line = "nr_cpus=1";
  content.config.workloads = {{VcpuId{1}, find_workload("syscalls")}};
  content.capture_kernel = as_bytes("a kernel");
  content.capture_initrd = as_bytes("an initrd");
  const auto image = first_initramfs(content);
  ASSERT_TRUE(image) << image.error().message();
  const auto members = members_of(*image);
  EXPECT_EQ(members.at(std::string(kCaptureKernelPath.substr(1))).content, "a kernel");
  EXPECT_EQ(members.at(std::string(kCaptureInitrdPath.substr(1))).content, "an initrd");
  const auto config = decode_config(as_bytes(members.at(std::string(kConfigPath.substr(1))).content));
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->capture_command_line, "nr_cpus=1");
  EXPECT_FALSE(members.contains(std::string(kCaptureVmlinuxPath.substr(1))));
}

TEST(Initramfs, FirstHasTheVmlinuxAloneIfNothingNeedsTheBzimage) {
  FirstInitramfs content;
  content.config.kexec = KexecCall::kLoad;
  content.capture_vmlinux = as_bytes("a vmlinux");
  content.capture_initrd = as_bytes("an initrd");
  const auto image = first_initramfs(content);
  ASSERT_TRUE(image) << image.error().message();
  const auto members = members_of(*image);
  std::string vmlinux(std::string_view("a vmlinux").size(), ' ');
  const auto unpacked = unpack(as_bytes(members.at(std::string(kCaptureVmlinuxPath.substr(1))).content),
                               std::as_writable_bytes(std::span(vmlinux)));
  ASSERT_TRUE(unpacked) << unpacked.error().message();
  EXPECT_EQ(vmlinux, "a vmlinux");
  EXPECT_FALSE(members.contains(std::string(kCaptureKernelPath.substr(1))));
}

TEST(Initramfs, IsTheSameEveryTime) {
  const auto image = capture_initramfs({});
  ASSERT_TRUE(image);
  EXPECT_EQ(*image, *capture_initramfs({}));
  for (const auto& [name, member] : members_of(*image)) EXPECT_EQ(member.modified, 0) << name;
}

TEST(Initramfs, RefusesAConfigurationThatNoAgentCanKeep) {
  FirstInitramfs content;
  content.config.capture_command_line = std::string(kMaxCaptureCommandLine + 1, 'x');
  const auto image = first_initramfs(content);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().kind(), ErrorKind::kInvalidInput);
}

}  // namespace
}  // namespace panicroom::agent
