#include "harness/director/lent_memory.h"

#include <zlib.h>

#include <span>

namespace panicroom::harness {

const agent::v1::Lent* lent(const agent::v1::Message& message) {
  if (message.has_dead_log() && message.dead_log().has_lent()) return &message.dead_log().lent();
  if (message.has_dump_part() && message.dump_part().has_lent()) return &message.dump_part().lent();
  return nullptr;
}

Result<std::vector<std::byte>> take_lent(hypervisor::Machine& machine, const agent::v1::Lent& lent) {
  std::size_t total = 0;
  for (const auto& range : lent.ranges()) {
    if (range.bytes() == 0 || range.bytes() > kMostLent - total) {
      return host_error("the agent lends {} bytes behind {} others; at most {} are taken", range.bytes(), total,
                        kMostLent);
    }
    total += static_cast<std::size_t>(range.bytes());
  }
  std::vector<std::byte> bytes(total);
  std::size_t done = 0;
  for (const auto& range : lent.ranges()) {
    const auto part = std::span(bytes).subspan(done, static_cast<std::size_t>(range.bytes()));
    if (const auto read = machine.read_physical(Gpa{range.address()}, part); !read) {
      return host_error("what the agent lends cannot be read: {}", read.error().message());
    }
    done += part.size();
  }
  if (crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()) != lent.crc32()) {
    return host_error("the {} bytes that the agent lends are not what it says they are", bytes.size());
  }
  if (lent.acknowledge_at() != 0) {
    const std::uint64_t word = lent.acknowledgement();
    if (const auto written = machine.write_physical(Gpa{lent.acknowledge_at()}, std::as_bytes(std::span(&word, 1)));
        !written) {
      return host_error("what the agent lends cannot be acknowledged: {}", written.error().message());
    }
  }
  return bytes;
}

}  // namespace panicroom::harness
