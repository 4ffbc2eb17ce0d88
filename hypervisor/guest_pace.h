// How fast an engine carries out a guest's kernel on this host, as far as it is no matter of the guest's. Part of the
// engine's description, and known before a machine is made: it decides what is booted. All limits by the host's clock
// for what a guest may take go through allow().
#pragma once

#include <cstdint>

namespace panicroom::hypervisor {

struct GuestPace {
  // How many times longer than under QEMU's emulator the kernel's code takes: 1 where it takes no longer.
  std::uint32_t slowdown = 1;

  // So slow that what a kernel does needlessly in its boot is to be left out.
  [[nodiscard]] constexpr bool slow_kernel_code() const { return slowdown > 1; }
  // What a limit of the usual length is here.
  template <typename Duration>
  [[nodiscard]] constexpr Duration allow(Duration usual) const {
    return usual * slowdown;
  }

  friend bool operator==(const GuestPace&, const GuestPace&) = default;
};

}  // namespace panicroom::hypervisor
