#include "hypervisor/rsp/register_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hypervisor/rsp/description_for_test.h"

namespace panicroom::rsp {
namespace {

using hypervisor::Registers;
using testing::HasSubstr;

Result<std::string> fetch_core(std::string_view annex) {
  EXPECT_EQ(annex, "core.xml");
  return test_core();
}

Result<std::string> fetch_nothing(std::string_view annex) { return host_error("there is no {}", annex); }

RegisterLayout test_layout() {
  const auto slots = parse_target_description(kTestTarget, fetch_core);
  EXPECT_TRUE(slots) << slots.error().message();
  auto layout = RegisterLayout::create(*slots);
  EXPECT_TRUE(layout) << layout.error().message();
  return *layout;
}

std::string describe(std::string_view registers) {
  return fmt::format("<target><feature>{}</feature></target>", registers);
}

TEST(TargetDescription, FollowsTheInclusionAndAddsUpOffsets) {
  const auto slots = parse_target_description(kTestTarget, fetch_core);
  ASSERT_TRUE(slots) << slots.error().message();
  EXPECT_EQ((*slots)[0], (RegisterSlot{"rax", 0, 8, 0}));
  EXPECT_EQ((*slots)[17], (RegisterSlot{"eflags", 17, 4, 136}));
  EXPECT_EQ((*slots)[24], (RegisterSlot{"fs_base", 24, 8, 164}));
  EXPECT_EQ(slots->back().offset + slots->back().size, kTestRegisterBytes);
}

TEST(TargetDescription, RegnumSetsTheNumberAndTheOrder) {
  const auto slots = parse_target_description(
      describe(
          R"(<reg name="b" bitsize="32" regnum="5"/><reg name="c" bitsize="8"/><reg name="a" bitsize="64" regnum="0"/>)"),
      fetch_nothing);
  ASSERT_TRUE(slots) << slots.error().message();
  ASSERT_EQ(slots->size(), 3U);
  EXPECT_EQ((*slots)[0], (RegisterSlot{"a", 0, 8, 0}));
  EXPECT_EQ((*slots)[1], (RegisterSlot{"b", 5, 4, 8}));
  EXPECT_EQ((*slots)[2], (RegisterSlot{"c", 6, 1, 12}));
}

TEST(TargetDescription, HostileOnesAreErrors) {
  const auto error = [](std::string_view xml) {
    const auto slots = parse_target_description(xml, fetch_nothing);
    return slots ? std::string("(accepted)") : slots.error().message();
  };
  EXPECT_THAT(error(""), HasSubstr("not XML"));
  EXPECT_THAT(error("<target>"), HasSubstr("not XML"));
  EXPECT_THAT(error("<html/>"), HasSubstr("<html>"));
  EXPECT_THAT(error(describe(R"(<reg name="a" bitsize="12"/>)")), HasSubstr("12 bits"));
  EXPECT_THAT(error(describe(R"(<reg name="a" bitsize="4294967288"/>)")), HasSubstr("bits"));
  EXPECT_THAT(error(describe(R"(<reg bitsize="8"/>)")), HasSubstr("\"\""));
  EXPECT_THAT(error(describe(R"(<reg name="a" bitsize="8" regnum="4294967295"/>)")), HasSubstr("number"));
  EXPECT_THAT(error(describe(R"(<reg name="a" bitsize="8"/><reg name="a" bitsize="8"/>)")), HasSubstr("twice"));
  EXPECT_THAT(error(describe(R"(<reg name="a" bitsize="8"/><reg name="b" bitsize="8" regnum="0"/>)")),
              HasSubstr("same number"));
  EXPECT_THAT(error(R"(<target><xi:include href="a:0,1#"/></target>)"), HasSubstr("a:0,1#"));
  EXPECT_THAT(error(R"(<target><xi:include href="core.xml"/></target>)"), HasSubstr("there is no core.xml"));
  std::string many;
  for (int i = 0; i < 1025; ++i) many += fmt::format(R"(<reg name="r{}" bitsize="8"/>)", i);
  EXPECT_THAT(error(describe(many)), HasSubstr("too many"));
}

TEST(TargetDescription, InclusionsAreBoundedInDepthAndNumber) {
  const std::string include_self = R"(<target><xi:include href="target.xml"/></target>)";
  auto slots =
      parse_target_description(include_self, [&](std::string_view) -> Result<std::string> { return include_self; });
  ASSERT_FALSE(slots);
  EXPECT_THAT(slots.error().message(), HasSubstr("includes too much"));

  std::string wide = "<target>";
  for (int i = 0; i < 100; ++i) wide += R"(<xi:include href="a"/>)";
  int fetched = 0;
  slots = parse_target_description(wide + "</target>", [&](std::string_view) -> Result<std::string> {
    ++fetched;
    return std::string("<feature/>");
  });
  EXPECT_FALSE(slots);
  EXPECT_LE(fetched, 16);
}

TEST(RegisterLayout, AMissingRegisterIsNamed) {
  const auto slots = parse_target_description(describe(R"(<reg name="cr0" bitsize="64"/>)"), fetch_nothing);
  const auto layout = RegisterLayout::create(*slots);
  ASSERT_FALSE(layout);
  EXPECT_THAT(layout.error().message(), HasSubstr("\"cr4\""));
}

TEST(RegisterLayout, EveryBytePatternLandsInItsRegister) {
  std::vector<std::byte> bytes(kTestRegisterBytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  const auto registers = test_layout().unpack(bytes);
  ASSERT_TRUE(registers) << registers.error().message();
  EXPECT_EQ(registers->rax, 0x0706050403020100U);
  EXPECT_EQ(registers->rip, 0x8786858483828180U);
  EXPECT_EQ(registers->rflags, 0x8b8a8988U);
  EXPECT_EQ(registers->gs, 0xa3a2a1a0U);
  EXPECT_EQ(registers->fs_base, 0xabaaa9a8a7a6a5a4U);
  EXPECT_EQ(registers->efer, 0xebeae9e8e7e6e5e4U);
}

TEST(RegisterLayout, AShortReplyIsAnError) {
  const auto layout = test_layout();
  std::vector<std::byte> bytes(17 * 8 + 7 * 4 + 9 * 8);
  EXPECT_TRUE(layout.unpack(bytes)) << "what comes after efer is not needed";
  bytes.pop_back();
  const auto registers = layout.unpack(bytes);
  ASSERT_FALSE(registers);
  EXPECT_THAT(registers.error().message(), HasSubstr("\"efer\""));
}

TEST(RegisterLayout, ChangesAreWhatDiffersAndInOrder) {
  const auto layout = test_layout();
  const Registers from;
  EXPECT_TRUE(layout.changes(from, from)->empty());

  Registers to = from;
  to.rip = 0x1122334455667788;
  to.cs = 0x10;
  to.cr3 = 0x1000;
  const auto changes = layout.changes(from, to);
  ASSERT_TRUE(changes);
  ASSERT_EQ(changes->size(), 3U);
  EXPECT_EQ((*changes)[0].name, "cr3");
  EXPECT_EQ((*changes)[1].name, "cs");
  EXPECT_EQ((*changes)[1].number, 18U);
  EXPECT_EQ((*changes)[1].value, (std::vector<std::byte>{std::byte{0x10}, {}, {}, {}}));
  EXPECT_EQ((*changes)[2].name, "rip");
  EXPECT_EQ((*changes)[2].value.front(), std::byte{0x88});
}

TEST(RegisterLayout, AValueThatDoesNotFitIsAnError) {
  Registers to;
  to.rflags = std::uint64_t{1} << 32;
  const auto changes = test_layout().changes({}, to);
  ASSERT_FALSE(changes);
  EXPECT_THAT(changes.error().message(), HasSubstr("eflags"));
}

}  // namespace
}  // namespace panicroom::rsp
