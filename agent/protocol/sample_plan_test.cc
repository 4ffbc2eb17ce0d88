#include "agent/protocol/sample_plan.h"

#include <gtest/gtest.h>

namespace panicroom::agent {
namespace {

TEST(SamplePlan, ComesBackAsItWas) {
  const vmcore::SamplePlan plan{.kernel_pages = {{0xffffffff81000000}, {0xffffffff82000000}},
                                .physical_pages = {{0}, {0x1fff000}},
                                .log_buffer = vmcore::SamplePlan::Buffer{{0xffffffff82345678}, {0xffffffff82345670}},
                                .page_tables = LinkAddress{0xffffffff82610000}};
  const auto back = decode_sample_plan(encode_sample_plan(plan));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->kernel_pages, plan.kernel_pages);
  EXPECT_EQ(back->physical_pages, plan.physical_pages);
  ASSERT_TRUE(back->log_buffer);
  EXPECT_EQ(back->log_buffer->pointer, plan.log_buffer->pointer);
  EXPECT_EQ(back->log_buffer->length, plan.log_buffer->length);
  EXPECT_EQ(back->page_tables, plan.page_tables);
  const auto empty = decode_sample_plan(encode_sample_plan({}));
  ASSERT_TRUE(empty);
  EXPECT_FALSE(empty->log_buffer);
  EXPECT_FALSE(empty->page_tables);
}

TEST(SamplePlan, OneThatAsksForTooMuchIsRefused) {
  vmcore::SamplePlan plan;
  plan.kernel_pages.resize(vmcore::kMaxSamples + 1);
  EXPECT_FALSE(decode_sample_plan(encode_sample_plan(plan)));
  EXPECT_FALSE(decode_sample_plan(as_bytes("\xff\xff\xff")));
}

TEST(SampleMessage, ComesBackAsItWas) {
  const vmcore::Sample sample{vmcore::SampleKind::kStack, 0xffffc90000003f00, 256, {0xdeadbeef}, {}};
  const auto back = from_message(to_message(sample));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->kind, sample.kind);
  EXPECT_EQ(back->address, sample.address);
  EXPECT_EQ(back->bytes, sample.bytes);
  EXPECT_EQ(back->blocks, sample.blocks);
  EXPECT_TRUE(from_message(to_message({vmcore::SampleKind::kKernel, 1, 4096, {}, "why"})));
}

TEST(SampleMessage, OneThatContradictsItselfIsNone) {
  EXPECT_FALSE(from_message(to_message({vmcore::SampleKind::kStack, 0, 256, {}, {}})));
  EXPECT_FALSE(from_message(to_message({vmcore::SampleKind::kStack, 0, 256, {1, 2}, {}})));
  EXPECT_FALSE(from_message(to_message({vmcore::SampleKind::kStack, 0, 256, {1}, "why"})));
  EXPECT_FALSE(
      from_message(to_message({vmcore::SampleKind::kStack, 0, 1 << 20, std::vector<std::uint32_t>(4096), {}})));
  EXPECT_FALSE(from_message(to_message({static_cast<vmcore::SampleKind>(77), 0, 256, {1}, {}})));
  EXPECT_FALSE(from_message({}));
}

TEST(Pages, TheCommandLineHoldsThem) {
  const std::vector<Gpa> pages = {{0x1f2c0000}, {0}, {0x123456789000}};
  EXPECT_EQ(format_pages(pages), "1f2c0,0,123456789");
  EXPECT_EQ(parse_pages("1f2c0,0,123456789 quiet"), pages);
  EXPECT_EQ(parse_pages(""), std::vector<Gpa>());
  EXPECT_EQ(parse_pages("1,"), std::vector<Gpa>({{0x1000}}));
  EXPECT_EQ(parse_pages("ffffffffffffffff"), std::vector<Gpa>());
}

}  // namespace
}  // namespace panicroom::agent
