#include "kernels/image/orc.h"

namespace panicroom::kernels {
namespace {

// struct orc_entry: sp_offset, bp_offset, and 16 bits of flags, of which the lowest four are sp_reg, the next four
// bp_reg.
constexpr std::size_t kEntryBytes = 6;
constexpr std::size_t kAddressBytes = 4;  // In .orc_unwind_ip: relative to where it stands itself.
constexpr unsigned kTypeShift = 8;

// The type of a call: 0 in two bits, 2 in three.
constexpr unsigned kCallOfThree = 2;

}  // namespace

std::uint64_t OrcTable::address_of(std::size_t number) const {
  const auto relative = load<std::int32_t>(addresses_, number * kAddressBytes).value_or(0);
  return addresses_at_.value + number * kAddressBytes + static_cast<std::uint64_t>(std::int64_t{relative});
}

Result<OrcTable> OrcTable::find(const ElfImage& image, LinkAddress any_function) {
  const Section* addresses = image.section(".orc_unwind_ip");
  const Section* entries = image.section(".orc_unwind");
  if (addresses == nullptr || entries == nullptr) return unsupported("the kernel has no ORC tables");
  OrcTable table;
  table.addresses_ = addresses->content;
  table.entries_ = entries->content;
  table.addresses_at_ = addresses->range.begin;
  table.count_ = addresses->content.size() / kAddressBytes;
  if (table.count_ == 0 || entries->content.size() / kEntryBytes < table.count_) {
    return invalid_input(".orc_unwind has {} bytes, which is not enough for the {} addresses of .orc_unwind_ip",
                         entries->content.size(), table.count_);
  }
  std::size_t number = 0;
  const auto flags = table.flags_at(any_function, number);
  if (!flags) return invalid_input(".orc_unwind_ip has no entry for {}", any_function);
  table.three_bits_ = (*flags >> kTypeShift & 7U) == kCallOfThree;
  return table;
}

std::optional<std::uint16_t> OrcTable::flags_at(LinkAddress address, std::size_t& number) const {
  std::size_t low = 0;
  std::size_t high = count_;
  while (low < high) {  // The first entry behind the address.
    const std::size_t middle = low + (high - low) / 2;
    if (address_of(middle) <= address.value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return std::nullopt;
  number = low - 1;
  return load<std::uint16_t>(entries_, number * kEntryBytes + 4);
}

std::optional<OrcEntry> OrcTable::at(LinkAddress address) const {
  std::size_t number = 0;
  const auto flags = flags_at(address, number);
  if (!flags) return std::nullopt;
  OrcEntry entry;
  entry.sp_offset = load<std::int16_t>(entries_, number * kEntryBytes).value_or(0);
  entry.bp_offset = load<std::int16_t>(entries_, number * kEntryBytes + 2).value_or(0);
  entry.sp_base = static_cast<OrcBase>(*flags & 0xfU);
  entry.bp_base = static_cast<OrcBase>(*flags >> 4 & 0xfU);
  if (three_bits_) {
    // UNDEFINED, END_OF_STACK, CALL, REGS, REGS_PARTIAL.
    switch (*flags >> kTypeShift & 7U) {
      case 1:
        entry.type = OrcType::kEnd;
        return entry;
      case kCallOfThree:
        entry.type = OrcType::kCall;
        return entry;
      case 3:
        entry.type = OrcType::kRegs;
        return entry;
      case 4:
        entry.type = OrcType::kRegsPartial;
        return entry;
      default:
        return std::nullopt;
    }
  }
  // CALL, REGS, REGS_PARTIAL; an end or a gap has no stack pointer. The end's bit is the first behind the type, or the
  // second in the kernels that have the one that says "signal".
  if (entry.sp_base == OrcBase::kUndefined) {
    if ((*flags >> (kTypeShift + 2) & 3U) == 0) return std::nullopt;
    entry.type = OrcType::kEnd;
    return entry;
  }
  switch (*flags >> kTypeShift & 3U) {
    case 0:
      entry.type = OrcType::kCall;
      return entry;
    case 1:
      entry.type = OrcType::kRegs;
      return entry;
    case 2:
      entry.type = OrcType::kRegsPartial;
      return entry;
    default:
      return std::nullopt;
  }
}

}  // namespace panicroom::kernels
