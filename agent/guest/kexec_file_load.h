// Loads the capture kernel with kexec_file_load(2): the kernel under test reads the bzImage and does everything else.
#pragma once

#include <cstdint>
#include <string>

#include "agent/guest/channel.h"

namespace panicroom::agent {

// The kernel at kCaptureKernelPath with the initrd at kCaptureInitrdPath. `crash_size` is for words.
Outcome<> load_by_kexec_file_load(const std::string& command_line, std::uint64_t crash_size);

}  // namespace panicroom::agent
