#include "harness/observer/running_kernel.h"

#include <fmt/format.h>

namespace panicroom::harness {

bool RunningKernel::in_text(Gva address) const {
  return image_->elf().text_range_at(unslide(address, slide_)) != nullptr;
}

std::optional<std::string> RunningKernel::symbolise(Gva address) const {
  if (!in_text(address)) return std::nullopt;
  const auto found = image_->symbols().containing(unslide(address, slide_));
  if (!found) return std::nullopt;
  if (found->offset == 0) return std::string(found->symbol.name);
  return fmt::format("{}+{:#x}", found->symbol.name, found->offset);
}

bool RunningKernel::follows_call(Gva address) const {
  if (!in_text(address)) return false;
  const LinkAddress link = unslide(address, slide_);
  // CALL rel32 is E8 and four bytes; CALL r/m64 through a register is FF /2, two or three bytes (SDM Vol. 2A, CALL).
  if (const auto near = image_->elf().bytes_at(link - 5, 5); near && load<std::uint8_t>(*near, 0) == 0xe8) return true;
  const auto indirect = image_->elf().bytes_at(link - 2, 2);
  return indirect && load<std::uint8_t>(*indirect, 0) == 0xff &&
         (load<std::uint8_t>(*indirect, 1).value_or(0) & 0xf8U) == 0xd0;
}

}  // namespace panicroom::harness
