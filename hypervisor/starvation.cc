#include "hypervisor/starvation.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdint>
#include <sstream>

#include "base/file.h"

namespace panicroom::hypervisor {

std::chrono::nanoseconds total_wait(pid_t process, std::span<const pid_t> threads) {
  std::chrono::nanoseconds total{0};
  for (const pid_t thread : threads) {
    const auto text = read_text_file(fmt::format("/proc/{}/task/{}/schedstat", process, thread));
    if (!text) continue;
    std::istringstream fields(*text);
    std::uint64_t ran = 0;
    std::uint64_t waited = 0;
    if (fields >> ran >> waited) total += std::chrono::nanoseconds(waited);
  }
  return total;
}

std::chrono::nanoseconds wait_of_guest(pid_t process, std::span<const pid_t> vcpu_threads) {
  const pid_t self = ::gettid();
  return total_wait(process, vcpu_threads) + total_wait(process, {&process, 1}) + total_wait(::getpid(), {&self, 1});
}

}  // namespace panicroom::hypervisor
