#include "hypervisor/rsp/packet.h"

#include <algorithm>

#include "hypervisor/rsp/replies.h"

namespace panicroom::rsp {
namespace {

constexpr char kEscape = '}';
constexpr char kEscapeMask = 0x20;
// A run length n is sent as the printable character n + 29, for n from 3 (' ') to 97 ('~').
constexpr int kRunLengthBias = 29;
constexpr char kRunLengthFirst = ' ';
constexpr char kRunLengthLast = '~';

}  // namespace

std::string encode_packet(std::string_view payload) {
  std::string packet = "$";
  packet.reserve(payload.size() + 4);
  for (const char byte : payload) {
    if (byte == '#' || byte == '$' || byte == '}' || byte == '*') {
      packet += kEscape;
      packet += static_cast<char>(byte ^ kEscapeMask);
    } else {
      packet += byte;
    }
  }
  unsigned char sum = 0;
  for (std::size_t i = 1; i < packet.size(); ++i)
    sum = static_cast<unsigned char>(sum + static_cast<unsigned char>(packet[i]));
  packet += fmt::format("#{:02x}", sum);
  return packet;
}

std::string printable(std::string_view bytes, std::size_t limit) {
  std::string text;
  for (const char byte : bytes.substr(0, limit)) {
    if (byte == '\\') {
      text += "\\\\";
    } else if (byte >= ' ' && byte <= '~') {
      text += byte;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
  }
  if (bytes.size() > limit) text += fmt::format("... ({} bytes)", bytes.size());
  return text;
}

void PacketDecoder::feed(std::string_view bytes) {
  if (violation_) return;
  input_.erase(0, consumed_);
  consumed_ = 0;
  input_ += bytes;
}

Result<std::optional<PacketDecoder::Event>> PacketDecoder::next() {
  while (!violation_ && consumed_ < input_.size()) {
    if (state_ == State::kPayload && !escaped_ && take_plain()) continue;
    if (auto event = step(input_[consumed_++])) return event;
  }
  if (violation_) return *violation_;
  return std::optional<Event>();
}

bool PacketDecoder::take_plain() {
  const auto rest = std::string_view(input_).substr(consumed_);
  const auto plain = rest.substr(0, std::min(rest.find_first_of("#$}*"), kMaxPayload - payload_.size()));
  if (plain.empty()) return false;
  for (const char byte : plain) sum_ = static_cast<unsigned char>(sum_ + static_cast<unsigned char>(byte));
  payload_ += plain;
  last_raw_ = plain.back();
  consumed_ += plain.size();
  return true;
}

std::optional<PacketDecoder::Event> PacketDecoder::violation(std::string_view what) {
  violation_ = host_error("not the GDB remote protocol: {} in \"{}\"", what, printable(payload_));
  input_.clear();
  consumed_ = 0;
  return std::nullopt;
}

bool PacketDecoder::append_raw(char byte) {
  if (!escaped_ && byte == kEscape) {
    escaped_ = true;
    return true;
  }
  if (payload_.size() == kMaxPayload) return false;
  payload_ += escaped_ ? static_cast<char>(byte ^ kEscapeMask) : byte;
  escaped_ = false;
  return true;
}

std::optional<PacketDecoder::Event> PacketDecoder::step(char byte) {
  switch (state_) {
    case State::kIdle:
      if (byte == '+') return Event{Event::Kind::kAck, {}};
      if (byte == '-') return Event{Event::Kind::kNack, {}};
      if (byte != '$' && byte != '%') {
        payload_ = byte;
        return violation("a byte outside any packet");
      }
      notification_ = byte == '%';
      escaped_ = false;
      last_raw_.reset();
      sum_ = 0;
      payload_.clear();
      state_ = State::kPayload;
      return std::nullopt;

    case State::kPayload:
      if (byte == '#') {
        if (escaped_) return violation("an escape at the end of a packet");
        state_ = State::kChecksumHigh;
        return std::nullopt;
      }
      sum_ = static_cast<unsigned char>(sum_ + static_cast<unsigned char>(byte));
      if (byte == '$') return violation("a packet begins inside a packet");
      if (byte == '*') {
        if (!last_raw_ || escaped_) return violation("a run length with nothing to repeat");
        state_ = State::kRunLength;
        return std::nullopt;
      }
      last_raw_ = byte;
      if (!append_raw(byte)) return violation("a packet that is too long");
      return std::nullopt;

    case State::kRunLength:
      sum_ = static_cast<unsigned char>(sum_ + static_cast<unsigned char>(byte));
      if (byte < kRunLengthFirst || byte > kRunLengthLast || byte == '#' || byte == '$') {
        return violation("a run length out of range");
      }
      for (int left = byte - kRunLengthBias; left > 0; --left) {
        if (!append_raw(*last_raw_)) return violation("a packet that is too long");
      }
      state_ = State::kPayload;
      return std::nullopt;

    case State::kChecksumHigh:
    case State::kChecksumLow: {
      const auto digit = hex_digit(byte);
      if (!digit) return violation("a checksum that is not hexadecimal");
      if (state_ == State::kChecksumHigh) {
        sent_sum_ = static_cast<unsigned char>(*digit << 4);
        state_ = State::kChecksumLow;
        return std::nullopt;
      }
      sent_sum_ = static_cast<unsigned char>(sent_sum_ | *digit);
      if (sent_sum_ != sum_) {
        return violation(fmt::format("checksum {:02x} instead of {:02x}", sent_sum_, sum_));
      }
      state_ = State::kIdle;
      if (notification_) return std::nullopt;
      return Event{Event::Kind::kPacket, std::move(payload_)};
    }
  }
  return violation("an impossible state");
}

}  // namespace panicroom::rsp
