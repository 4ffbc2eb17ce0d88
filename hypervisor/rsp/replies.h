// The meaning of the stub's replies. Pure functions over hostile text; register values are in register_layout.h.
// Reference: "Debugging with GDB", appendix E.3 "Stop Reply Packets" and E.4 "General Query Packets".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::rsp {

std::optional<unsigned> hex_digit(char digit);
// 1 to 16 hexadecimal digits and nothing else.
std::optional<std::uint64_t> parse_hex_number(std::string_view text);
// Two digits a byte. Nothing if it is not that.
std::optional<std::vector<std::byte>> decode_hex(std::string_view text);
std::string encode_hex(Bytes bytes);

// The number in an "E01" reply. Hexadecimal data is never taken for one: it has an even number of digits.
std::optional<unsigned> parse_error_reply(std::string_view reply);

// The signal numbers that QEMU puts into stop replies.
inline constexpr unsigned kSignalInterrupt = 2;  // Stopped from outside: kInterrupt, or the monitor's `stop`.
inline constexpr unsigned kSignalQuit = 3;       // The guest has shut down.
inline constexpr unsigned kSignalTrap = 5;       // A breakpoint, a watchpoint, or the end of a single step.

// Why the target stopped, as the stub says it; threads are still the stub's.
struct RawStopReply {
  enum class Kind {
    kSignal,  // S and T: it stands still; `code` is the signal.
    kExited,  // W: it is gone; `code` is the exit status.
    kKilled,  // X: it is gone; `code` is the signal.
  };
  enum class Watch { kNone, kWrite, kRead, kAccess };

  Kind kind = Kind::kSignal;
  unsigned code = 0;
  std::optional<std::uint64_t> thread = std::nullopt;  // Absent in S, W and X.
  Watch watch = Watch::kNone;                          // Which kind of watchpoint was hit, if any...
  Gva watch_address = {};                              // ...and the address that was touched.

  friend bool operator==(const RawStopReply&, const RawStopReply&) = default;
};

// Whether `reply` has the form of a stop reply. No reply to any request that Client makes begins like one.
bool looks_like_stop_reply(std::string_view reply);
// kHost, quoting the reply, if it is not a stop reply. Keys that it does not know (registers, core, ...) are passed
// over.
Result<RawStopReply> parse_stop_reply(std::string_view reply);

// The answer to qSupported.
struct Features {
  std::size_t packet_size = 400;  // Bytes, framing included; what GDB assumes of a stub that does not say.
  bool target_description = false;
  bool vcont = false;
  bool no_ack_mode = false;
};
Result<Features> parse_features(std::string_view reply);

// The answer to qfThreadInfo and qsThreadInfo: the threads in it, or nothing at the list's end ("l").
Result<std::optional<std::vector<std::uint64_t>>> parse_thread_list(std::string_view reply);

// The answer to qXfer:...:read.
struct Transfer {
  std::string_view data;  // Points into the reply.
  bool last = false;
};
Result<Transfer> parse_transfer(std::string_view reply);

}  // namespace panicroom::rsp
