#include "agent/kexec/capture_entry.h"

#include <cstdint>
#include <cstring>

#include "base/bytes.h"

extern "C" {
// capture_entry.S
extern const std::byte panicroom_capture_entry_begin[];
extern const std::byte panicroom_capture_entry_words[];
extern const std::byte panicroom_capture_entry_end[];
}

namespace panicroom::kexec {

std::vector<std::byte> capture_entry(Gpa boot_params, Gpa kernel) {
  std::vector<std::byte> code(panicroom_capture_entry_begin, panicroom_capture_entry_end);
  const std::uint64_t words[] = {boot_params.value, kernel.value};
  std::memcpy(code.data() + (panicroom_capture_entry_words - panicroom_capture_entry_begin), words, sizeof(words));
  return code;
}

}  // namespace panicroom::kexec
