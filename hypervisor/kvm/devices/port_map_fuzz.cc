// A guest that reads and writes any port in any way. What must hold besides not crashing: a result fits its width, no
// interrupt but the console's is ever pulled, output is exactly the bytes that were written, a request for power stays,
// and a copy that is treated alike stays equal.
#include <string>

#include "base/bytes.h"
#include "base/testing/require.h"
#include "hypervisor/kvm/devices/port_map.h"

namespace {

using namespace panicroom;       // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::kvm;  // NOLINT(google-build-using-namespace)

// One access takes 8 bytes of input: what to do, the port or the number of one that is there, and a value.
constexpr std::size_t kAccess = 8;
constexpr std::uint16_t kPorts[] = {0x20,  0x21,  0x40,  0x43,  0x60,  0x61,  0x64,  0x70,  0x71,  0xa0,
                                    0xa1,  0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x402,
                                    0x4d0, 0x600, 0x602, 0x604, 0x605, 0xcf8, 0xcf9, 0xcfc};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = std::as_bytes(std::span(data, size));
  Devices devices;
  Devices copy;
  for (std::size_t at = 0; at + kAccess <= input.size(); at += kAccess) {
    const auto action = *load<std::uint8_t>(input, at);
    const auto number = *load<std::uint16_t>(input, at + 2);
    const auto value = *load<std::uint32_t>(input, at + 4);
    const std::uint16_t port = (action & 1) != 0 ? number : kPorts[number % std::size(kPorts)];
    const unsigned width = (action & 2) != 0 ? *load<std::uint8_t>(input, at + 1) : 1U << ((action >> 2) % 3);
    const bool possible = width == 1 || width == 2 || width == 4;
    const PowerRequest before = devices.power_request();
    if ((action & 0x80) != 0) {
      devices.out(port, width, value);
      copy.out(port, width, value);
      if (width == 1 && port == kAgentPort) {
        const Devices unread = devices;
        require(devices.take_agent() == std::string(1, static_cast<char>(value)), "the agent's byte comes through");
        require(!(devices == unread) && copy.take_agent().size() == 1, "output is taken once");
      }
    } else {
      const std::int64_t now = static_cast<std::int64_t>(std::uint64_t{value} << (number % 33));
      const std::uint32_t result = devices.in(port, width, now);
      require(result == copy.in(port, width, now), "equal devices answer alike");
      require(!possible || width == 4 || result >> 8 * width == 0, "a result fits its width");
    }
    require((devices.irq_lines() & ~(1U << kConsoleIrq)) == 0, "only the console interrupts");
    require(before == PowerRequest::kNone || devices.power_request() == before, "what was asked for first stays");
    require(devices.take_console().size() <= 4 && devices.take_agent().size() <= 4, "no more comes out than went in");
    copy.take_console();
    copy.take_agent();
    require(devices == copy, "a copy that is treated alike stays equal");
  }
  return 0;
}
