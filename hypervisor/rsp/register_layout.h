// Where each register stands in the stub's `g` reply: read from the target description (target.xml and what it
// includes), and the mapping between that and hypervisor::Registers. Pure. Reference: "Debugging with GDB", appendix G
// "Target Descriptions".
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "hypervisor/registers.h"

namespace panicroom::rsp {

// One register as the target description has it.
struct RegisterSlot {
  std::string name;
  std::uint32_t number = 0;  // For the `P` packet.
  std::size_t size = 0;      // Bytes.
  std::size_t offset = 0;    // In the `g` reply, in bytes.

  friend bool operator==(const RegisterSlot&, const RegisterSlot&) = default;
};

// Gives the text of an included file by its name in the target description.
using FetchAnnex = std::function<Result<std::string>(std::string_view annex)>;

// The registers that `target_xml` and the files it includes describe, ordered by number, offsets filled in. Hostile
// input: the number of registers and inclusions and the depth of the latter are bounded. kHost says what is wrong with
// it.
Result<std::vector<RegisterSlot>> parse_target_description(std::string_view target_xml, const FetchAnnex& fetch);

// The slots of the registers that panicroom knows. A value; may be shared between threads.
class RegisterLayout {
 public:
  // One register to be written with `P`.
  struct Change {
    std::string_view name;
    std::uint32_t number = 0;
    std::vector<std::byte> value;  // Little-endian, of the register's size.
  };

  RegisterLayout() = default;
  // kHost, naming it, if a register that hypervisor::Registers has is missing or not 1 to 8 bytes wide.
  static Result<RegisterLayout> create(const std::vector<RegisterSlot>& slots);

  // From the bytes of a `g` reply. kHost if it is too short.
  [[nodiscard]] Result<hypervisor::Registers> unpack(Bytes g_reply) const;

  // What must be written to get from `from` to `to`, and no register else: in the order in which it has to be written
  // (what selects the mode, then what is looked up in it, then the rest). kHost if a value does not fit its register.
  [[nodiscard]] Result<std::vector<Change>> changes(const hypervisor::Registers& from,
                                                    const hypervisor::Registers& to) const;

 private:
  std::vector<RegisterSlot> slots_;  // Parallel to the table of fields in register_layout.cc.
};

}  // namespace panicroom::rsp
