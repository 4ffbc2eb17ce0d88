#include "agent/initramfs/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace panicroom::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Ldd, LibrariesAndTheLoaderAreFiles) {
  const auto paths = parse_ldd(
      "\tlinux-vdso.so.1 (0x00007ff61c29d000)\n"
      "\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007ff61c11a000)\n"
      "\t/lib64/ld-linux-x86-64.so.2 (0x00007ff61c29f000)\n");
  ASSERT_TRUE(paths);
  EXPECT_THAT(*paths, ElementsAre("/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"));
}

TEST(Ldd, AMissingLibraryIsNamed) {
  const auto paths = parse_ldd("\tlibdw.so.1 => not found\n");
  ASSERT_FALSE(paths);
  EXPECT_THAT(paths.error().message(), HasSubstr("libdw.so.1"));
}

TEST(Ldd, AStaticProgramNeedsNothing) { EXPECT_TRUE(parse_ldd("\tstatically linked\n")->empty()); }

TEST(ProgramWithLibraries, HasTheLoaderAndTheCLibrary) {
  const auto files = program_with_libraries("/bin/ls");
  ASSERT_TRUE(files) << files.error().message();
  EXPECT_EQ(files->front().path, "/bin/ls");
  const auto has = [&](std::string_view part) {
    return std::ranges::any_of(*files, [&](const ProgramFile& file) {
      return file.path.find(part) != std::string::npos && file.content.size() > 1000;
    });
  };
  EXPECT_TRUE(has("/ld-linux"));
  EXPECT_TRUE(has("/libc.so"));
}

TEST(ProgramWithLibraries, AProgramThatIsNotThereIsNamed) {
  const auto files = program_with_libraries("/nowhere/makedumpfile");
  ASSERT_FALSE(files);
  EXPECT_THAT(files.error().message(), HasSubstr("/nowhere/makedumpfile"));
}

}  // namespace
}  // namespace panicroom::agent
