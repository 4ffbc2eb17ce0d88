#include "harness/saved_dump/saved_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/vmcore/prstatus.h"
#include "agent/vmcore/synthetic_vmcore.h"
#include "base/testing/temporary_directory.h"

namespace panicroom::harness {
namespace {

using testing::HasSubstr;

class SavedDumpTest : public ::testing::Test {
 protected:
  static agent::v1::DumpSaved ended(int status, std::uint64_t bytes, std::string said = "") {
    agent::v1::DumpSaved end;
    end.set_exit_status(status);
    end.set_bytes(bytes);
    end.set_said(std::move(said));
    return end;
  }
  TemporaryDirectory folder_;
  SavedDump dump_{folder_.path()};
};

TEST_F(SavedDumpTest, PartsComeInOrder) {
  const std::vector<std::byte> part(100);
  ASSERT_TRUE(dump_.add(0, part));
  ASSERT_TRUE(dump_.add(100, part));
  const auto again = dump_.add(100, part);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::kHost);
  EXPECT_FALSE(dump_.add(300, part));
}

TEST_F(SavedDumpTest, PartsThatAreMissingAreTheHostsFault) {
  ASSERT_TRUE(dump_.add(0, std::vector<std::byte>(100)));
  const auto finding = dump_.finish(ended(0, 200), {});
  ASSERT_FALSE(finding);
  EXPECT_EQ(finding.error().kind(), ErrorKind::kHost);
}

TEST_F(SavedDumpTest, AProgramThatFailedIsAFindingWithItsWords) {
  const auto finding = dump_.finish(ended(1, 0, "Can't get necessary symbols\nmakedumpfile Failed.\n"), {});
  ASSERT_TRUE(finding) << finding.error().message();
  EXPECT_THAT(finding->trouble, HasSubstr("makedumpfile"));
  ASSERT_EQ(finding->checks.size(), 1U);
  EXPECT_FALSE(finding->checks[0].ok());
  EXPECT_THAT(finding->checks[0].actual(), HasSubstr("Can't get necessary symbols makedumpfile Failed."));
  EXPECT_EQ(finding->saved.file(), "");
}

TEST_F(SavedDumpTest, ADumpThatIsNoneIsAFinding) {
  ASSERT_TRUE(dump_.add(0, std::vector<std::byte>(5000, std::byte{'x'})));
  const auto finding = dump_.finish(ended(0, 5000), {});
  ASSERT_TRUE(finding) << finding.error().message();
  EXPECT_THAT(finding->trouble, HasSubstr("saved dump: file"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "vmcore.flat"));
}

TEST_F(SavedDumpTest, AFolderThatCannotBeWrittenToIsTheHostsFault) {
  SavedDump dump(folder_.path() / "nowhere");
  const auto added = dump.add(0, std::vector<std::byte>(1));
  ASSERT_FALSE(added);
  EXPECT_THAT(added.error().message(), HasSubstr("nowhere"));
}

// A file as makedumpfile writes it to a pipe (makedumpfile.h, struct makedumpfile_header and _data_header): big-endian
// offsets and lengths before each piece.
std::vector<std::byte> flattened(Bytes file) {
  constexpr std::size_t kHeader = 4096;
  constexpr std::size_t kPiece = 3000;
  std::vector<std::byte> out(kHeader);
  std::ranges::copy(as_bytes(std::string_view("makedumpfile")), out.begin());
  const auto number = [&](std::size_t at, std::int64_t value) {
    if (out.size() < at + 8) out.resize(at + 8);
    for (int byte = 0; byte < 8; ++byte) out[at + static_cast<std::size_t>(byte)] = std::byte(value >> (56 - 8 * byte));
  };
  number(16, 1);  // The type, and
  number(24, 1);  // the version.
  for (std::size_t at = 0; at < file.size(); at += kPiece) {
    const auto piece = file.subspan(at, std::min(kPiece, file.size() - at));
    number(out.size(), static_cast<std::int64_t>(at));
    number(out.size(), static_cast<std::int64_t>(piece.size()));
    out.insert(out.end(), piece.begin(), piece.end());
  }
  number(out.size(), -1);
  number(out.size(), -1);
  return out;
}

// A small vmcore that is saved as it is, and the truth about it.
class SavedVmcoreTest : public SavedDumpTest {
 protected:
  SavedVmcoreTest() : vmcore_(vmcore::SyntheticVmcore{}.build()) {
    const vmcore::BufferReader reader(vmcore_);
    const auto core = vmcore::ElfCore::open(reader);
    std::string damage;
    std::size_t malformed = 0;
    std::uint32_t cpu = 0;
    for (const auto& status : vmcore::find_prstatus(core->read_notes(damage), malformed)) {
      truth_.cpus[VcpuId{cpu++}].saved = status.registers;
    }
    truth_.vcpus = cpu;
    truth_.message = PanicMessage{.text = "first", .whole = true};
    constexpr std::uint64_t kMap = 0xffffffff80000000;
    truth_.phys_base = static_cast<std::int64_t>(vmcore::SyntheticVmcore::kKernelPhysical -
                                                 (vmcore::SyntheticVmcore::kKernelVirtual - kMap));
    for (const std::uint64_t page : {0, 0x1000}) {
      std::vector<std::byte> bytes(vmcore::kPageBytes);
      EXPECT_TRUE(core->read_physical(Gpa{vmcore::SyntheticVmcore::kKernelPhysical + page}, bytes));
      vmcore::Sample sample{vmcore::SampleKind::kKernel, vmcore::SyntheticVmcore::kKernelVirtual + page,
                            vmcore::kPageBytes, vmcore::block_checksums(bytes), ""};
      truth_.samples.push_back({.sample = std::move(sample), .constant = true});
    }
  }

  // The names of the checks that failed.
  std::vector<std::string> failed() {
    const auto flat = flattened(vmcore_);
    EXPECT_TRUE(dump_.add(0, flat));
    const auto finding = dump_.finish(ended(0, flat.size()), truth_);
    if (!finding) return {finding.error().message()};
    std::vector<std::string> names;
    for (const auto& check : finding->checks) {
      if (!check.ok()) names.push_back(check.name());
    }
    return names;
  }

  std::vector<std::byte> vmcore_;
  CrashTruth truth_;
};

// Without its System.map makedumpfile does not find the log of a kernel this small; the guests' tests do.
constexpr const char* kNoLog = "saved dump: log";

TEST_F(SavedVmcoreTest, ATrueOneIsFoundTrue) {
  truth_.kernel_release = "6.1.0-test";
  EXPECT_THAT(failed(), testing::IsSubsetOf({kNoLog}));
}

TEST_F(SavedVmcoreTest, AnotherKernelsIsNamed) {
  truth_.kernel_release = "6.1.0-99-cloud-amd64";
  EXPECT_THAT(failed(), testing::ElementsAre("saved dump: release"));
}

TEST_F(SavedVmcoreTest, ARegisterThatIsAnotherIsNamed) {
  truth_.kernel_release = "6.1.0-test";
  (*truth_.cpus[VcpuId{1}].saved)[3] ^= 1;
  EXPECT_THAT(failed(), testing::ElementsAre("saved dump: registers of CPU 1"));
}

TEST_F(SavedVmcoreTest, APageThatIsAnotherIsNamed) {
  truth_.kernel_release = "6.1.0-test";
  truth_.samples[1].sample.blocks[2] ^= 1;
  EXPECT_THAT(failed(), testing::ElementsAre("saved dump: memory"));
}

TEST_F(SavedVmcoreTest, AConstantPageThatIsAbsentIsNamed) {
  truth_.kernel_release = "6.1.0-test";
  truth_.samples[1].sample.address += std::uint64_t{16} << 20;
  EXPECT_THAT(failed(), testing::ElementsAre("saved dump: memory"));
}

TEST_F(SavedVmcoreTest, OneThatIsCutShortIsNotOpened) {
  vmcore_.resize(100);
  EXPECT_THAT(failed(), testing::ElementsAre("saved dump: opened"));
}

}  // namespace
}  // namespace panicroom::harness
