// The framing of the GDB Remote Serial Protocol: $payload#checksum, escapes, run lengths, acknowledgements. Pure: no
// input or output, no time. What payloads mean is in replies.h. Reference: "Debugging with GDB", appendix E.1
// "Overview" (packets) and E.9 "Notification Packets".
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace panicroom::rsp {

// What asks a running target to stop; sent outside any packet.
inline constexpr char kInterrupt = '\x03';

// "$payload#cs" with '#', '$', '}' and '*' in the payload escaped.
std::string encode_packet(std::string_view payload);

// For messages: at most `limit` bytes of `bytes`, unprintable ones as \xNN, and how many there were if that was not
// all.
std::string printable(std::string_view bytes, std::size_t limit = 64);

// Takes a byte stream in pieces of any size and gives the packets in it. The stream may be hostile: a payload never
// grows beyond kMaxPayload, run lengths included, and the first violation of the protocol ends the decoding for good,
// because after it nobody can say where a packet begins. The result does not depend on how the stream was cut.
class PacketDecoder {
 public:
  // Generous: QEMU announces packets of 4096 bytes, and its longest reply is a few bytes more.
  static constexpr std::size_t kMaxPayload = std::size_t{1} << 16;

  struct Event {
    enum class Kind {
      kPacket,  // A packet with a good checksum; `payload` is unescaped and expanded.
      kAck,     // '+'
      kNack,    // '-': the peer did not accept what it was sent.
    };
    Kind kind = Kind::kAck;
    std::string payload;

    friend bool operator==(const Event&, const Event&) = default;
  };

  // Appends to what is still to be decoded. The memory used is bounded only by what the caller feeds between two calls
  // of next() that give nothing.
  void feed(std::string_view bytes);

  // The next event; nothing if the rest of it has yet to come. kHost, with the offending packet in the message, once
  // the stream is not the protocol; then always. Notifications ('%') are dropped unseen: nothing here asks for any.
  Result<std::optional<Event>> next();

 private:
  enum class State { kIdle, kPayload, kRunLength, kChecksumHigh, kChecksumLow };

  std::optional<Event> step(char byte);
  // Takes all payload bytes up to the next with a meaning of its own, which is most of every packet; false if there are
  // none.
  bool take_plain();
  bool append_raw(char byte);
  // Sets violation_; gives no event.
  std::optional<Event> violation(std::string_view what);

  std::string input_;
  std::size_t consumed_ = 0;
  State state_ = State::kIdle;
  bool notification_ = false;
  bool escaped_ = false;          // The last raw byte was '}': it changes the next one.
  std::optional<char> last_raw_;  // What a run length repeats: the raw byte before it, as GDB itself does it.
  unsigned char sum_ = 0;
  unsigned char sent_sum_ = 0;
  std::string payload_;
  std::optional<Error> violation_;
};

}  // namespace panicroom::rsp
