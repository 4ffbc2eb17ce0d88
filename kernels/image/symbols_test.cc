#include "kernels/image/symbols.h"

#include <gmock/gmock.h>

#include <array>
#include <string>
#include <utility>

namespace panicroom::kernels {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::array kText{LinkRange{{0x1000}, {0x1100}}, LinkRange{{0x3000}, {0x3100}}};
constexpr std::array kLoaded{LinkRange{{0}, {0x100}}, LinkRange{{0x1000}, {0x2800}}, LinkRange{{0x3000}, {0x3100}}};

SymbolTable sample() {
  SymbolTable::Builder builder;
  builder.add({0x2000}, 'D', "panic_cpu");
  builder.add({0x1000}, 'T', "_stext");
  builder.add({0x1000}, 't', "__pfx_first");
  builder.add({0x1000}, 'W', "first_weak");
  builder.add({0x1000}, 'T', "first_function");
  builder.add({0x1000}, 't', "first");
  builder.add({0x1040}, 't', "twin");
  builder.add({0x1060}, 't', "twin");
  builder.add({0x1080}, 'T', "last");
  builder.add({0x1080}, 'T', "last");
  builder.add({0x3010}, 't', "init");
  builder.add({0x10}, 'A', "gdt_page");
  return std::move(builder).build(kText, kLoaded);
}

std::string where(const SymbolTable& table, std::uint64_t address) {
  const auto found = table.containing({address});
  return found ? fmt::format("{}+{:#x}", found->symbol.name, found->offset) : "nowhere";
}

TEST(SymbolTable, FindsByName) {
  const SymbolTable table = sample();
  EXPECT_EQ(table.size(), 12U);
  ASSERT_EQ(table.find("panic_cpu").size(), 1U);
  EXPECT_EQ(table.find("panic_cpu")[0], (Symbol{{0x2000}, "panic_cpu", 'D', false}));
  ASSERT_EQ(table.find("twin").size(), 2U);
  EXPECT_EQ(table.find("twin")[1].address, LinkAddress{0x1060});
  EXPECT_TRUE(table.find("twi").empty());
  EXPECT_TRUE(table.find("").empty());
}

TEST(SymbolTable, SaysWhyANameIsNotUnique) {
  const SymbolTable table = sample();
  const auto panic_cpu = table.unique("panic_cpu");
  ASSERT_TRUE(panic_cpu);
  EXPECT_EQ(panic_cpu->address, LinkAddress{0x2000});
  EXPECT_TRUE(table.unique("last")) << "twice at one address is one thing";
  const auto missing = table.unique("vpanic");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(missing.error().message(), "the kernel has no symbol 'vpanic'");
  const auto ambiguous = table.unique("twin");
  ASSERT_FALSE(ambiguous);
  EXPECT_THAT(ambiguous.error().message(),
              AllOf(HasSubstr("ambiguous"), HasSubstr("0x0000000000001040, 0x0000000000001060")));
}

TEST(SymbolTable, FindsTheFunctionThatHoldsAnAddress) {
  const SymbolTable table = sample();
  EXPECT_EQ(where(table, 0x1000), "first_function+0x0") << "global before weak, local, marks and padding";
  EXPECT_EQ(where(table, 0x103f), "first_function+0x3f");
  EXPECT_EQ(where(table, 0x1040), "twin+0x0");
  EXPECT_EQ(where(table, 0x10ff), "last+0x7f");
  EXPECT_EQ(where(table, 0x3000), "nowhere") << "text before the section's first symbol is not the section before it";
  EXPECT_EQ(where(table, 0x3011), "init+0x1");
}

TEST(SymbolTable, FindsTheObjectThatHoldsAnAddress) {
  const SymbolTable table = sample();
  EXPECT_EQ(where(table, 0x2004), "panic_cpu+0x4");
  EXPECT_EQ(where(table, 0x1100), "nowhere") << "behind text, before the first object";
  EXPECT_EQ(where(table, 0x2800), "nowhere") << "outside every segment";
  EXPECT_EQ(where(table, 0x20), "gdt_page+0x10");
  EXPECT_EQ(where(table, 0x0), "nowhere");
  EXPECT_EQ(where(table, ~std::uint64_t{0}), "nowhere");
}

TEST(SymbolTable, KnowsTheExtentOfAFunction) {
  const SymbolTable table = sample();
  const auto extent = [&](std::string_view name) { return table.extent(table.find(name)[0]); };
  EXPECT_EQ(extent("first"), (LinkRange{{0x1000}, {0x1040}}));
  EXPECT_EQ(extent("twin"), (LinkRange{{0x1040}, {0x1060}}));
  EXPECT_EQ(extent("last"), (LinkRange{{0x1080}, {0x1100}})) << "to the end of its section";
  EXPECT_EQ(extent("panic_cpu"), std::nullopt);
}

TEST(SymbolTable, KeepsItsNamesWhenMoved) {
  SymbolTable table = sample();
  const std::string_view name = table.find("init")[0].name;
  const SymbolTable moved = std::move(table);
  EXPECT_EQ(name, "init");
  EXPECT_EQ(moved.find("init")[0].name.data(), name.data());
}

TEST(SymbolTable, MayBeEmpty) {
  const SymbolTable table = SymbolTable::Builder().build({}, {});
  EXPECT_EQ(table.size(), 0U);
  EXPECT_TRUE(table.find("x").empty());
  EXPECT_FALSE(table.containing({0x1000}));
}

}  // namespace
}  // namespace panicroom::kernels
