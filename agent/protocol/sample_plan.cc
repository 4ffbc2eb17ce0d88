#include "agent/protocol/sample_plan.h"

#include <fmt/format.h>

#include <charconv>

namespace panicroom::agent {

std::vector<std::byte> encode_sample_plan(const vmcore::SamplePlan& plan) {
  v1::SamplePlan message;
  for (const LinkAddress page : plan.kernel_pages) message.add_kernel_pages(page.value);
  for (const Gpa page : plan.physical_pages) message.add_physical_pages(page.value);
  if (plan.log_buffer) {
    message.set_log_buffer_pointer(plan.log_buffer->pointer.value);
    message.set_log_buffer_length(plan.log_buffer->length.value);
  }
  if (plan.page_tables) message.set_page_tables(plan.page_tables->value);
  std::vector<std::byte> bytes(message.ByteSizeLong());
  message.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

Result<vmcore::SamplePlan> decode_sample_plan(Bytes bytes) {
  v1::SamplePlan message;
  if (bytes.size() > std::size_t{1024} * 1024 ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return invalid_input("{} is not a panicroom.agent.v1.SamplePlan", kSamplePlanPath);
  }
  constexpr int kMost = static_cast<int>(vmcore::kMaxSamples);
  if (message.kernel_pages_size() > kMost || message.physical_pages_size() > kMost) {
    return invalid_input("{} asks for more than {} samples of a kind", kSamplePlanPath, kMost);
  }
  vmcore::SamplePlan plan;
  for (const auto page : message.kernel_pages()) plan.kernel_pages.push_back({page});
  for (const auto page : message.physical_pages()) plan.physical_pages.push_back({page});
  if (message.log_buffer_pointer() != 0) {
    plan.log_buffer = {{message.log_buffer_pointer()}, {message.log_buffer_length()}};
  }
  if (message.page_tables() != 0) plan.page_tables = LinkAddress{message.page_tables()};
  return plan;
}

v1::Sample to_message(const vmcore::Sample& sample) {
  v1::Sample message;
  message.set_kind(static_cast<std::uint32_t>(sample.kind));
  message.set_address(sample.address);
  message.set_bytes(sample.bytes);
  for (const std::uint32_t block : sample.blocks) message.add_blocks(block);
  message.set_unreadable(sample.unreadable);
  return message;
}

std::optional<vmcore::Sample> from_message(const v1::Sample& message) {
  using vmcore::SampleKind;
  if (message.kind() < static_cast<std::uint32_t>(SampleKind::kKernel) ||
      message.kind() > static_cast<std::uint32_t>(SampleKind::kWorkload) || message.bytes() > vmcore::kPageBytes) {
    return std::nullopt;
  }
  const std::uint64_t blocks = (message.bytes() + vmcore::kBlockBytes - 1) / vmcore::kBlockBytes;
  const auto sent = static_cast<std::uint64_t>(message.blocks_size());
  if (message.unreadable().empty() ? sent != blocks : sent != 0) return std::nullopt;
  return vmcore::Sample{static_cast<SampleKind>(message.kind()),
                        message.address(),
                        message.bytes(),
                        {message.blocks().begin(), message.blocks().end()},
                        message.unreadable()};
}

std::string format_pages(const std::vector<Gpa>& pages) {
  std::string text;
  for (const Gpa page : pages) text += fmt::format("{}{:x}", text.empty() ? "" : ",", page.value / vmcore::kPageBytes);
  return text;
}

std::vector<Gpa> parse_pages(std::string_view text) {
  std::vector<Gpa> pages;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (pages.size() < vmcore::kMaxSamples) {
    std::uint64_t frame = 0;
    const auto [next, error] = std::from_chars(at, end, frame, 16);
    if (error != std::errc{} || frame > (std::uint64_t{1} << 40)) break;
    pages.push_back({frame * vmcore::kPageBytes});
    if (next == end || *next != ',') break;
    at = next + 1;
  }
  return pages;
}

}  // namespace panicroom::agent
