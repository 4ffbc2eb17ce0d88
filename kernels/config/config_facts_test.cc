#include "kernels/config/config_facts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace panicroom::kernels {
namespace {

ConfigFact fact_of(const std::string& text, std::string_view option) {
  const auto config = KernelConfig::parse(text);
  EXPECT_TRUE(config);
  const auto facts = config_facts(*config);
  const auto it =
      std::find_if(facts.begin(), facts.end(), [&](const auto& fact) { return fact.entry->option == option; });
  EXPECT_NE(it, facts.end());
  return it == facts.end() ? ConfigFact{} : *it;
}

TEST(ConfigFactsTest, TellsWhatIsMissing) {
  const auto there = fact_of("CONFIG_CRASH_DUMP=y\n", "CRASH_DUMP");
  EXPECT_TRUE(there.met);
  EXPECT_EQ(there.value, "y");
  const auto missing = fact_of("# CONFIG_CRASH_DUMP is not set\nCONFIG_KEXEC=y\n", "CRASH_DUMP");
  EXPECT_FALSE(missing.met);
  EXPECT_EQ(missing.value, "n");
  EXPECT_EQ(missing.entry->need, Need::kRequired);
}

TEST(ConfigFactsTest, TellsWhatIsInTheWay) {
  EXPECT_FALSE(fact_of("CONFIG_KEXEC_SIG_FORCE=y\n", "KEXEC_SIG_FORCE").met);
  EXPECT_TRUE(fact_of("CONFIG_KEXEC=y\n", "KEXEC_SIG_FORCE").met);
}

TEST(ConfigFactsTest, AnOptionOfNoNeedIsAlwaysMet) {
  EXPECT_TRUE(fact_of("CONFIG_KEXEC=y\n", "PREEMPT_RT").met);
  EXPECT_EQ(fact_of("CONFIG_PHYSICAL_ALIGN=0x200000\n", "PHYSICAL_ALIGN").value, "0x200000");
}

TEST(ConfigFactsTest, EveryEntryIsNamedOnceAndHasARemark) {
  std::set<std::string_view> names;
  for (const auto& entry : kConfigFacts) {
    EXPECT_TRUE(names.insert(entry.option).second) << entry.option;
    EXPECT_FALSE(entry.remark.empty()) << entry.option;
    EXPECT_FALSE(entry.option.starts_with("CONFIG_")) << entry.option;
  }
}

}  // namespace
}  // namespace panicroom::kernels
