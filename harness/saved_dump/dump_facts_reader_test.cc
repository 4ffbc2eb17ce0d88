#include "harness/saved_dump/dump_facts_reader.h"

#include <gtest/gtest.h>

namespace panicroom::harness {
namespace {

constexpr std::string_view kGood =
    R"({"format":"diskdump","release":"6.1.0","cpus":[{"rip":18446744071578845184,"rsp":5},{}],"pages":[[1,2],null]})";

TEST(DumpFacts, AreUnderstood) {
  const auto facts = parse_dump_facts(kGood, 2);
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_EQ(facts->format, "diskdump");
  EXPECT_EQ(facts->release, "6.1.0");
  ASSERT_EQ(facts->cpus.size(), 1U) << "a CPU without registers has no note";
  EXPECT_EQ(facts->cpus[0].registers().rip(), 0xffffffff81000000U);
  EXPECT_EQ(facts->cpus[0].registers().rsp(), 5U);
  ASSERT_EQ(facts->pages.size(), 2U);
  EXPECT_EQ(facts->pages[0], (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(facts->pages[1], std::nullopt);
}

TEST(DumpFacts, WhatIsNotThemIsRefused) {
  for (const std::string_view text : {
           "",
           "[]",
           R"({"format":"x","release":"y","cpus":[],"pages":[]})",
           R"({"format":1,"release":"y","cpus":[],"pages":[null,null]})",
           R"({"format":"x","cpus":[],"pages":[null,null]})",
           R"({"format":"x","release":"y","cpus":[1],"pages":[null,null]})",
           R"({"format":"x","release":"y","cpus":[{"rip":-1}],"pages":[null,null]})",
           R"({"format":"x","release":"y","cpus":[],"pages":[null,[4294967296]]})",
           R"({"format":"x","release":"y","cpus":[],"pages":[null,1]})",
           R"({"format":"x","release":"y","cpus":{},"pages":[null,null]})",
       }) {
    EXPECT_FALSE(parse_dump_facts(text, 2)) << text;
  }
}

}  // namespace
}  // namespace panicroom::harness
