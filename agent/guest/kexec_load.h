// Loads the capture kernel with kexec_load(2), the older call, as distributions' kdump-tools do by default: user space
// lays out the crash memory, and the kernel under test only copies. Its image has no digest that anybody would check
// between the crash and the capture kernel.
#pragma once

#include <string>

#include "agent/guest/channel.h"

namespace panicroom::agent {

// The ELF vmlinux at kCaptureVmlinuxPath with the initrd at kCaptureInitrdPath. /proc and /sys are mounted.
Outcome<> load_by_kexec_load(const std::string& command_line);

}  // namespace panicroom::agent
