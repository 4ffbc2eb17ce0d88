// How messages from the guest's agent are framed in the one-way byte stream of the agent port.
//
// A frame is, little-endian:
//     offset 0   4 bytes   magic "PnRm"
//            4   2 bytes   framing version, kFrameVersion
//            6   2 bytes   zero
//            8   4 bytes   length of the payload in bytes
//           12   4 bytes   CRC-32 (zlib's) over bytes 4..11 and the payload
//           16             payload: a serialised panicroom.agent.v1.Message
// and travels COBS-encoded (Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999), so with no zero byte
// inside, between two zero bytes. A zero byte therefore always ends a frame: when the kernel dies in the middle of one,
// the first frame of the capture kernel is found at once, and garbage costs no more than itself.
//
// Left out: reading the port (the engines) and what the messages mean (agent.proto).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "base/bytes.h"

namespace panicroom::agent {

// The I/O port: QEMU's `-device isa-debugcon,iobase=0x402`.
inline constexpr std::uint16_t kAgentPort = 0x402;
inline constexpr std::uint16_t kFrameVersion = 1;
inline constexpr std::size_t kFrameHeaderBytes = 16;
// Of a frame before stuffing, header included. An agent cuts what is larger (DeadLog, Vmcoreinfo) into parts.
inline constexpr std::size_t kMaxFrameBytes = std::size_t{64} * 1024;

// The bytes to write to the port, delimiters included. Nothing if the message is larger than a frame may be.
std::optional<std::vector<std::byte>> encode_frame(const v1::Message& message);

// Something in the stream that is no message. Small, because a hostile guest can make many.
struct ProtocolError {
  enum class Kind {
    kOversized,  // More than a frame's bytes with no delimiter.
    kStuffing,   // Not COBS.
    kHeader,     // Too short, no magic, or a length that does not fit.
    kVersion,    // A framing version that this host does not know: an initramfs built by another version of panicroom.
    kChecksum,
    kPayload,      // The checksum holds, but the payload is no Message, or one of no kind that is known here.
    kSequenceGap,  // Messages are missing before the one that follows.
  };
  Kind kind = Kind::kHeader;
  std::uint64_t stream_offset = 0;  // Of the first byte concerned, counted from the decoder's start.
  std::uint64_t bytes = 0;          // How many bytes of the stream were dropped; 0 for kSequenceGap.
};
// One sentence for a person.
std::string describe(const ProtocolError& error);

using Received = std::variant<v1::Message, ProtocolError>;

// Turns the stream back into messages, whatever it is fed. Memory is bounded by kMaxFrameBytes; time is linear. Not
// thread-safe.
class FrameDecoder {
 public:
  enum class Start {
    kFresh,      // The stream begins with the guest's power-on: the first sequence number must be 0.
    kMidStream,  // Resumed from a snapshot: the half of a frame and the unknown sequence number at the start are no
                 // errors.
  };
  explicit FrameDecoder(Start start = Start::kFresh) : skip_to_delimiter_(start == Start::kMidStream) {
    if (start == Start::kFresh) expected_sequence_ = 0;
  }

  // What the bytes complete, in order. Sequence number 0 is always in order: the capture kernel's agent begins again.
  [[nodiscard]] std::vector<Received> feed(Bytes bytes);

  [[nodiscard]] std::uint64_t messages() const { return messages_; }
  [[nodiscard]] std::uint64_t errors() const { return errors_; }
  // Bytes that belonged to no message (delimiters not counted).
  [[nodiscard]] std::uint64_t garbage_bytes() const { return garbage_bytes_; }
  // Bytes of a frame that has begun and not ended.
  [[nodiscard]] std::size_t pending_bytes() const { return stuffed_.size(); }

 private:
  void finish_frame(std::vector<Received>& out);
  void report(ProtocolError error, std::vector<Received>& out);

  std::vector<std::byte> stuffed_;     // The current frame so far, COBS-encoded.
  std::uint64_t frame_start_ = 0;      // Stream offset of its first byte.
  std::uint64_t stream_offset_ = 0;    // Of the next byte to be fed.
  std::uint64_t oversized_bytes_ = 0;  // Length of the run being dropped because it outgrew a frame; 0: none.
  bool skip_to_delimiter_ = false;
  std::optional<std::uint64_t> expected_sequence_;
  std::uint64_t messages_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t garbage_bytes_ = 0;
};

}  // namespace panicroom::agent
