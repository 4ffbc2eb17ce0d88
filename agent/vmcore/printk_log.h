// The dead kernel's log, read from its printk ring buffer (5.10 and later: kernel/printk/printk_ringbuffer.h) by the
// layout that VMCOREINFO tells. The kernel may have died while it wrote a record, or while another CPU did: a record
// that is not committed or whose parts do not agree is counted and left out, never a reason to give up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "agent/vmcore/elf_core.h"
#include "agent/vmcore/vmcoreinfo.h"
#include "base/result.h"

namespace panicroom::vmcore {

struct PrintkLog {
  // As dmesg lays it out: "[    1.234567] text\n"; a record of several lines has the time before each. Raw bytes.
  std::string text;
  std::size_t records = 0;
  // Records being written at the crash, overwritten while described, or damaged.
  std::size_t unreadable = 0;
  // Older readable or unreadable records that were not looked at because `text` was full.
  std::size_t omitted = 0;
};

// The newest records that fit into max_bytes. kInvalidInput if the ring buffer itself cannot be found or makes no
// sense.
Result<PrintkLog> read_printk_log(const ElfCore& core, const Vmcoreinfo& info, std::size_t max_bytes);

}  // namespace panicroom::vmcore
