#include "agent/vmcore/printk_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace panicroom::vmcore {
namespace {

// Larger than log_buf_len= can make them.
constexpr std::uint32_t kMaxDescriptorBits = 22;
constexpr std::uint32_t kMaxDataBits = 31;
// Larger than the structures of any kernel: OFFSET() and SIZE() are hostile input too.
constexpr std::uint64_t kMaxStructBytes = 4096;

// A descriptor's state variable (printk_ringbuffer.h, DESC_SV): two bits of state above the id.
constexpr int kStateShift = 62;
constexpr std::uint64_t kIdMask = (1ULL << kStateShift) - 1;
// The position of a record without text; a text that found no room in the ring has 1 instead, and is lost.
constexpr std::uint64_t kEmptyLinePosition = 3;
enum class DescriptorState : std::uint64_t { kReserved = 0, kCommitted = 1, kFinalized = 2, kReusable = 3 };

// Byte offsets and sizes of the fields that are read, in the dead kernel's structures.
struct Layout {
  std::uint64_t ring_bytes, count_bits, descs, infos, head_id, tail_id, size_bits, data;
  std::uint64_t desc_bytes, state, begin, next;
  std::uint64_t info_bytes, time, text_length;
};

Result<std::uint64_t> field(const Vmcoreinfo& info, std::string_view name) {
  const auto offset = info.offset(name);
  if (!offset) return invalid_input("VMCOREINFO has no OFFSET({}): a kernel before 5.10?", name);
  if (*offset > kMaxStructBytes - sizeof(std::uint64_t))
    return invalid_input("OFFSET({})={} makes no sense", name, *offset);
  return *offset;
}

Result<std::uint64_t> struct_size(const Vmcoreinfo& info, std::string_view name) {
  const auto size = info.size(name);
  if (!size) return invalid_input("VMCOREINFO has no SIZE({}): a kernel before 5.10?", name);
  if (*size == 0 || *size > kMaxStructBytes) return invalid_input("SIZE({})={} makes no sense", name, *size);
  return *size;
}

Result<Layout> layout_of(const Vmcoreinfo& info) {
  Layout layout{};
  layout.ring_bytes = TRY(struct_size(info, "printk_ringbuffer"));
  const auto descriptors = TRY(field(info, "printk_ringbuffer.desc_ring"));
  const auto text = TRY(field(info, "printk_ringbuffer.text_data_ring"));
  layout.count_bits = descriptors + TRY(field(info, "prb_desc_ring.count_bits"));
  layout.descs = descriptors + TRY(field(info, "prb_desc_ring.descs"));
  layout.infos = descriptors + TRY(field(info, "prb_desc_ring.infos"));
  layout.head_id = descriptors + TRY(field(info, "prb_desc_ring.head_id"));
  layout.tail_id = descriptors + TRY(field(info, "prb_desc_ring.tail_id"));
  layout.size_bits = text + TRY(field(info, "prb_data_ring.size_bits"));
  layout.data = text + TRY(field(info, "prb_data_ring.data"));
  layout.desc_bytes = TRY(struct_size(info, "prb_desc"));
  layout.state = TRY(field(info, "prb_desc.state_var"));
  const auto block = TRY(field(info, "prb_desc.text_blk_lpos"));
  layout.begin = block + TRY(field(info, "prb_data_blk_lpos.begin"));
  layout.next = block + TRY(field(info, "prb_data_blk_lpos.next"));
  layout.info_bytes = TRY(struct_size(info, "printk_info"));
  layout.time = TRY(field(info, "printk_info.ts_nsec"));
  layout.text_length = TRY(field(info, "printk_info.text_len"));
  return layout;
}

// Where a record's text lies in the data ring; nothing if the descriptor's positions contradict themselves.
struct TextBlock {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};
std::optional<TextBlock> text_block(std::uint64_t begin, std::uint64_t next, std::uint32_t size_bits) {
  if (begin == kEmptyLinePosition && next == kEmptyLinePosition) return TextBlock{};
  const std::uint64_t ring = 1ULL << size_bits;
  if (begin % sizeof(std::uint64_t) != 0 || next % sizeof(std::uint64_t) != 0) return std::nullopt;
  const std::uint64_t bytes = next - begin;  // Positions count up for ever, and may wrap around 2^64.
  if (bytes == 0 || bytes > ring) return std::nullopt;
  TextBlock block;
  if ((begin >> size_bits) == ((next - 1) >> size_bits)) {
    block = {begin & (ring - 1), bytes};
  } else {
    block = {0,
             next & (ring - 1)};  // It did not fit before the end of the ring: all of it lies at the ring's beginning.
  }
  // A block begins with its descriptor's id.
  if (block.bytes < sizeof(std::uint64_t)) return std::nullopt;
  return TextBlock{block.offset + sizeof(std::uint64_t), block.bytes - sizeof(std::uint64_t)};
}

// dmesg's layout of one record.
std::string lay_out(std::uint64_t nanoseconds, std::string_view text) {
  const std::string prefix = fmt::format("[{:5}.{:06}] ", nanoseconds / 1'000'000'000, nanoseconds / 1000 % 1'000'000);
  std::string out;
  do {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out.append(prefix).append(text.substr(0, end)).append("\n");
    text.remove_prefix(std::min(end + 1, text.size()));
  } while (!text.empty());
  return out;
}

class RingReader {
 public:
  static Result<RingReader> open(const ElfCore& core, const Vmcoreinfo& info) {
    RingReader ring(core, TRY(layout_of(info)));
    const auto symbol = info.symbol("prb");
    if (!symbol) return invalid_input("VMCOREINFO has no SYMBOL(prb): a kernel before 5.10?");
    std::array<std::byte, sizeof(std::uint64_t)> pointer;
    TRY_CONTEXT("the pointer prb", core.read_virtual(*symbol, pointer));
    std::vector<std::byte> head(static_cast<std::size_t>(ring.layout_.ring_bytes));
    TRY_CONTEXT("*prb", core.read_virtual(Gva{*load<std::uint64_t>(pointer, 0)}, head));

    const Layout& at = ring.layout_;
    const auto count_bits = load<std::uint32_t>(head, at.count_bits);
    const auto size_bits = load<std::uint32_t>(head, at.size_bits);
    const auto descs = load<std::uint64_t>(head, at.descs);
    const auto infos = load<std::uint64_t>(head, at.infos);
    const auto data = load<std::uint64_t>(head, at.data);
    const auto head_id = load<std::uint64_t>(head, at.head_id);
    const auto tail_id = load<std::uint64_t>(head, at.tail_id);
    if (!count_bits || !size_bits || !descs || !infos || !data || !head_id || !tail_id) {
      return invalid_input("the offsets in VMCOREINFO lie outside of struct printk_ringbuffer");
    }
    if (*count_bits == 0 || *count_bits > kMaxDescriptorBits || *size_bits < 3 || *size_bits > kMaxDataBits) {
      return invalid_input("the printk ring buffer is said to have 2^{} descriptors and 2^{} bytes", *count_bits,
                           *size_bits);
    }
    ring.count_ = 1ULL << *count_bits;
    ring.size_bits_ = *size_bits;
    ring.descs_ = Gva{*descs};
    ring.infos_ = Gva{*infos};
    ring.data_ = Gva{*data};
    ring.head_id_ = *head_id & kIdMask;
    ring.tail_id_ = *tail_id & kIdMask;
    if (ring.records() > ring.count_) {
      return invalid_input("the printk ring buffer's tail id {} and head id {} do not belong together", *tail_id,
                           *head_id);
    }
    return ring;
  }

  // How many records lie between tail and head, both included.
  [[nodiscard]] std::uint64_t records() const { return ((head_id_ - tail_id_) & kIdMask) + 1; }

  // The record `back` places before the head, laid out; nothing if it cannot be read.
  [[nodiscard]] std::optional<std::string> record(std::uint64_t back) const {
    const std::uint64_t id = (head_id_ - back) & kIdMask;
    const std::uint64_t place = id % count_;
    const auto descriptor = read(descs_ + place * layout_.desc_bytes, layout_.desc_bytes);
    const auto info = read(infos_ + place * layout_.info_bytes, layout_.info_bytes);
    if (!descriptor || !info) return std::nullopt;
    const auto state = load<std::uint64_t>(*descriptor, layout_.state);
    const auto begin = load<std::uint64_t>(*descriptor, layout_.begin);
    const auto next = load<std::uint64_t>(*descriptor, layout_.next);
    const auto time = load<std::uint64_t>(*info, layout_.time);
    const auto length = load<std::uint16_t>(*info, layout_.text_length);
    if (!state || !begin || !next || !time || !length) return std::nullopt;

    const auto what = static_cast<DescriptorState>(*state >> kStateShift);
    if ((*state & kIdMask) != id || (what != DescriptorState::kCommitted && what != DescriptorState::kFinalized)) {
      return std::nullopt;
    }
    const auto block = text_block(*begin, *next, size_bits_);
    if (!block) return std::nullopt;
    const auto text = read(data_ + block->offset, std::min<std::uint64_t>(*length, block->bytes));
    if (!text) return std::nullopt;
    return lay_out(*time, as_text(*text));
  }

 private:
  RingReader(const ElfCore& core, Layout layout) : core_(&core), layout_(layout) {}

  [[nodiscard]] std::optional<std::vector<std::byte>> read(Gva address, std::uint64_t bytes) const {
    std::vector<std::byte> out(static_cast<std::size_t>(bytes));
    if (!out.empty() && !core_->read_virtual(address, out)) return std::nullopt;
    return out;
  }

  const ElfCore* core_;
  Layout layout_;
  std::uint64_t count_ = 0;
  std::uint32_t size_bits_ = 0;
  Gva descs_, infos_, data_;
  std::uint64_t head_id_ = 0;
  std::uint64_t tail_id_ = 0;
};

}  // namespace

Result<PrintkLog> read_printk_log(const ElfCore& core, const Vmcoreinfo& info, std::size_t max_bytes) {
  const RingReader ring = TRY(RingReader::open(core, info));
  PrintkLog log;
  // From the newest back, because the end of the log is what tells how the kernel died.
  std::vector<std::string> newest_first;
  std::size_t bytes = 0;
  const std::uint64_t count = ring.records();
  for (std::uint64_t back = 0; back < count; ++back) {
    auto record = ring.record(back);
    if (!record) {
      ++log.unreadable;
      continue;
    }
    if (record->size() > max_bytes - bytes) {
      log.omitted = static_cast<std::size_t>(count - back);
      break;
    }
    bytes += record->size();
    newest_first.push_back(std::move(*record));
  }
  log.records = newest_first.size();
  log.text.reserve(bytes);
  for (auto record = newest_first.rbegin(); record != newest_first.rend(); ++record) log.text += *record;
  return log;
}

}  // namespace panicroom::vmcore
