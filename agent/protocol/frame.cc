#include "agent/protocol/frame.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>

namespace panicroom::agent {
namespace {

constexpr std::array kMagic = {std::byte{'P'}, std::byte{'n'}, std::byte{'R'}, std::byte{'m'}};
constexpr std::byte kDelimiter{0};
// COBS: a code byte of 255 stands for 254 literal bytes with no zero after them.
constexpr std::size_t kFullBlock = 254;
constexpr std::size_t kMaxStuffedBytes = kMaxFrameBytes + kMaxFrameBytes / kFullBlock + 1;

std::uint32_t checksum(Bytes header_from_version, Bytes payload) {
  const auto part = [](uLong crc, Bytes bytes) {
    return crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  };
  return static_cast<std::uint32_t>(part(part(0, header_from_version), payload));
}

void stuff(Bytes plain, std::vector<std::byte>& out) {
  std::size_t at = 0;
  while (true) {
    const Bytes rest = plain.subspan(at);
    const auto zero = std::find(rest.begin(), rest.end(), kDelimiter);
    const std::size_t run = std::min(static_cast<std::size_t>(zero - rest.begin()), kFullBlock);
    out.push_back(static_cast<std::byte>(run + 1));
    out.insert(out.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(run));
    at += run;
    if (run == kFullBlock) {
      if (at == plain.size()) return;
      continue;
    }
    if (at == plain.size()) return;
    ++at;  // The zero that the next code byte stands for.
  }
}

// Undoes stuff() in place; false if the bytes are not COBS. No byte of `bytes` is zero.
bool unstuff(std::vector<std::byte>& bytes) {
  std::size_t from = 0;
  std::size_t to = 0;
  while (from < bytes.size()) {
    const auto run = std::to_integer<std::size_t>(bytes[from]) - 1;
    ++from;
    if (run > bytes.size() - from) return false;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), run,
                bytes.begin() + static_cast<std::ptrdiff_t>(to));
    from += run;
    to += run;
    if (run < kFullBlock && from < bytes.size()) bytes[to++] = kDelimiter;
  }
  bytes.resize(to);
  return true;
}

template <typename T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(value));
}

}  // namespace

std::optional<std::vector<std::byte>> encode_frame(const v1::Message& message) {
  const std::size_t length = message.ByteSizeLong();
  if (length > kMaxFrameBytes - kFrameHeaderBytes) return std::nullopt;
  std::vector<std::byte> plain(kFrameHeaderBytes + length);
  std::copy(kMagic.begin(), kMagic.end(), plain.begin());
  put(plain.data() + 4, kFrameVersion);
  put(plain.data() + 8, static_cast<std::uint32_t>(length));
  if (!message.SerializeToArray(plain.data() + kFrameHeaderBytes, static_cast<int>(length))) return std::nullopt;
  const Bytes bytes(plain);
  put(plain.data() + 12, checksum(bytes.subspan(4, 8), bytes.subspan(kFrameHeaderBytes)));

  std::vector<std::byte> out;
  out.reserve(plain.size() + plain.size() / kFullBlock + 3);
  out.push_back(kDelimiter);
  stuff(plain, out);
  out.push_back(kDelimiter);
  return out;
}

std::string describe(const ProtocolError& error) {
  const char* what = "";
  switch (error.kind) {
    case ProtocolError::Kind::kOversized:
      what = "more bytes than a frame can have, with no end of frame";
      break;
    case ProtocolError::Kind::kStuffing:
      what = "a frame that is cut short or not COBS-encoded";
      break;
    case ProtocolError::Kind::kHeader:
      what = "a frame with a bad header";
      break;
    case ProtocolError::Kind::kVersion:
      what = "a frame of a framing version that this panicroom does not know (an initramfs of another build?)";
      break;
    case ProtocolError::Kind::kChecksum:
      what = "a frame with a wrong checksum";
      break;
    case ProtocolError::Kind::kPayload:
      what = "a frame that holds no message known here";
      break;
    case ProtocolError::Kind::kSequenceGap:
      return fmt::format("agent stream, offset {}: messages are missing before this one", error.stream_offset);
  }
  return fmt::format("agent stream, offset {}: {} ({} bytes dropped)", error.stream_offset, what, error.bytes);
}

std::vector<Received> FrameDecoder::feed(Bytes bytes) {
  std::vector<Received> out;
  while (!bytes.empty()) {
    const auto delimiter = std::find(bytes.begin(), bytes.end(), kDelimiter);
    const Bytes part = bytes.first(static_cast<std::size_t>(delimiter - bytes.begin()));
    if (stuffed_.empty() && oversized_bytes_ == 0) frame_start_ = stream_offset_;
    stream_offset_ += part.size();
    if (skip_to_delimiter_) {
      // Dropped, and no error.
    } else if (oversized_bytes_ > 0 || part.size() > kMaxStuffedBytes - stuffed_.size()) {
      oversized_bytes_ += stuffed_.size() + part.size();
      stuffed_.clear();
    } else {
      stuffed_.insert(stuffed_.end(), part.begin(), part.end());
    }
    if (delimiter == bytes.end()) break;
    bytes = bytes.subspan(part.size() + 1);
    ++stream_offset_;
    skip_to_delimiter_ = false;
    finish_frame(out);
  }
  return out;
}

void FrameDecoder::finish_frame(std::vector<Received>& out) {
  using Kind = ProtocolError::Kind;
  if (oversized_bytes_ > 0) {
    report({Kind::kOversized, frame_start_, std::exchange(oversized_bytes_, 0)}, out);
    return;
  }
  if (stuffed_.empty()) return;  // Two delimiters in a row: between any two frames.
  const std::size_t dropped = stuffed_.size();
  const auto fail = [&](Kind kind) {
    stuffed_.clear();
    report({kind, frame_start_, dropped}, out);
  };

  if (!unstuff(stuffed_)) return fail(Kind::kStuffing);
  const Bytes frame(stuffed_);
  if (frame.size() < kFrameHeaderBytes || !std::equal(kMagic.begin(), kMagic.end(), frame.begin())) {
    return fail(Kind::kHeader);
  }
  if (load<std::uint16_t>(frame, 4) != kFrameVersion) return fail(Kind::kVersion);
  const Bytes payload = frame.subspan(kFrameHeaderBytes);
  if (load<std::uint16_t>(frame, 6) != 0 || load<std::uint32_t>(frame, 8) != payload.size()) return fail(Kind::kHeader);
  if (load<std::uint32_t>(frame, 12) != checksum(frame.subspan(4, 8), payload)) return fail(Kind::kChecksum);
  v1::Message message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size())) ||
      message.kind_case() == v1::Message::KIND_NOT_SET) {
    return fail(Kind::kPayload);
  }
  stuffed_.clear();

  if (message.sequence() != 0 && expected_sequence_ && message.sequence() != *expected_sequence_) {
    report({Kind::kSequenceGap, frame_start_, 0}, out);
  }
  expected_sequence_ = message.sequence() + 1;
  ++messages_;
  out.emplace_back(std::move(message));
}

void FrameDecoder::report(ProtocolError error, std::vector<Received>& out) {
  ++errors_;
  garbage_bytes_ += error.bytes;
  out.emplace_back(error);
}

}  // namespace panicroom::agent
