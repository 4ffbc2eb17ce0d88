#include "hypervisor/qemu/starvation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <sstream>

#include "base/file.h"

namespace panicroom::qemu {

std::chrono::nanoseconds longest_wait(pid_t process, std::span<const pid_t> threads) {
  std::chrono::nanoseconds longest{0};
  for (const pid_t thread : threads) {
    const auto text = read_text_file(fmt::format("/proc/{}/task/{}/schedstat", process, thread));
    if (!text) continue;
    std::istringstream fields(*text);
    std::uint64_t ran = 0;
    std::uint64_t waited = 0;
    if (fields >> ran >> waited) longest = std::max(longest, std::chrono::nanoseconds(waited));
  }
  return longest;
}

}  // namespace panicroom::qemu
