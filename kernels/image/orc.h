// ORC: the kernel's own tables of how to find the caller of any instruction, by which its backtraces are exact although
// it has no frame pointers. See Documentation/arch/x86/orc-unwinder.rst and arch/x86/include/asm/orc_types.h.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "kernels/image/elf_image.h"

namespace panicroom::kernels {

// What a frame's stack pointer is reckoned from.
enum class OrcBase : std::uint8_t {
  kUndefined = 0,
  kPreviousSp = 1,  // Of the frame that is being found; for BP only.
  kDx = 2,
  kDi = 3,
  kBp = 4,
  kSp = 5,
  kR10 = 6,
  kR13 = 7,
  kBpIndirect = 8,
  kSpIndirect = 9,
};

enum class OrcType : std::uint8_t {
  kCall,         // A function: its return address lies below the stack pointer of its caller.
  kRegs,         // The stack pointer is that of a struct pt_regs.
  kRegsPartial,  // Of its last five words, which the CPU pushed.
  kEnd,          // There is no caller.
};

struct OrcEntry {
  std::int16_t sp_offset = 0;
  std::int16_t bp_offset = 0;
  OrcBase sp_base = OrcBase::kUndefined;
  OrcBase bp_base = OrcBase::kUndefined;
  OrcType type = OrcType::kEnd;
};

// A view of an image's tables; the image must outlive it. Immutable, thread-safe.
class OrcTable {
 public:
  // kUnsupported if the kernel was built without (another unwinder), kInvalidInput if the tables do not fit each other.
  // Until 6.3 an entry's type has two bits and the end a bit of its own; later the type has three. Which it is, is told
  // by what stands in `any_function`, the body of some C function.
  static Result<OrcTable> find(const ElfImage& image, LinkAddress any_function);

  // What holds at an instruction. Nothing if the address lies before all entries, or its entry is undefined.
  [[nodiscard]] std::optional<OrcEntry> at(LinkAddress address) const;
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  OrcTable() = default;
  [[nodiscard]] std::uint64_t address_of(std::size_t number) const;
  [[nodiscard]] std::optional<std::uint16_t> flags_at(LinkAddress address, std::size_t& number) const;

  Bytes addresses_;
  Bytes entries_;
  LinkAddress addresses_at_;
  std::size_t count_ = 0;
  bool three_bits_ = false;
};

}  // namespace panicroom::kernels
