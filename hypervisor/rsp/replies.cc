#include "hypervisor/rsp/replies.h"

#include <algorithm>

#include "hypervisor/rsp/packet.h"

namespace panicroom::rsp {
namespace {

// Cuts `text` at the first `separator`: what is before it is returned, what is after it stays.
std::string_view take_until(std::string_view& text, char separator) {
  const auto end = text.find(separator);
  const auto part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

std::optional<RawStopReply::Watch> watch_kind(std::string_view key) {
  if (key == "watch") return RawStopReply::Watch::kWrite;
  if (key == "rwatch") return RawStopReply::Watch::kRead;
  if (key == "awatch") return RawStopReply::Watch::kAccess;
  return std::nullopt;
}

}  // namespace

std::optional<unsigned> hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return static_cast<unsigned>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<unsigned>(digit - 'a' + 10);
  if (digit >= 'A' && digit <= 'F') return static_cast<unsigned>(digit - 'A' + 10);
  return std::nullopt;
}

std::optional<std::uint64_t> parse_hex_number(std::string_view text) {
  if (text.empty() || text.size() > 16) return std::nullopt;
  std::uint64_t value = 0;
  for (const char character : text) {
    const auto digit = hex_digit(character);
    if (!digit) return std::nullopt;
    value = value << 4 | *digit;
  }
  return value;
}

std::optional<std::vector<std::byte>> decode_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const auto high = hex_digit(text[i]);
    const auto low = hex_digit(text[i + 1]);
    if (!high || !low) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(*high << 4 | *low));
  }
  return bytes;
}

std::string encode_hex(Bytes bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte >> 4)];
    text += kDigits[std::to_integer<unsigned>(byte & std::byte{15})];
  }
  return text;
}

std::optional<unsigned> parse_error_reply(std::string_view reply) {
  if (reply.size() != 3 || reply[0] != 'E') return std::nullopt;
  const auto code = parse_hex_number(reply.substr(1));
  if (!code) return std::nullopt;
  return static_cast<unsigned>(*code);
}

bool looks_like_stop_reply(std::string_view reply) {
  if (reply.size() < 3) return false;
  const char type = reply[0];
  return (type == 'T' || type == 'S' || type == 'W' || type == 'X') && hex_digit(reply[1]) && hex_digit(reply[2]);
}

Result<RawStopReply> parse_stop_reply(std::string_view reply) {
  const auto malformed = [reply](std::string_view what) {
    return host_error("the gdbstub sent a stop reply with {}: \"{}\"", what, printable(reply));
  };
  if (!looks_like_stop_reply(reply)) {
    return host_error("the gdbstub sent \"{}\" where a stop reply was due", printable(reply));
  }
  RawStopReply stop;
  stop.code = static_cast<unsigned>(*parse_hex_number(reply.substr(1, 2)));
  if (reply[0] == 'W') stop.kind = RawStopReply::Kind::kExited;
  if (reply[0] == 'X') stop.kind = RawStopReply::Kind::kKilled;
  auto rest = reply.substr(3);
  if (reply[0] != 'T') {
    // W and X may name the process: ";process:1".
    const bool names_process = stop.kind != RawStopReply::Kind::kSignal && rest.starts_with(";process:");
    if (!rest.empty() && !names_process) return malformed("something after the signal");
    return stop;
  }
  while (!rest.empty()) {
    auto value = take_until(rest, ';');
    if (value.find(':') == std::string_view::npos) return malformed("a field without a value");
    const auto key = take_until(value, ':');
    if (key == "thread") {
      if (stop.thread) return malformed("two threads");
      stop.thread = parse_hex_number(value);
      if (!stop.thread) return malformed("a thread that is not a number");
    } else if (const auto watch = watch_kind(key)) {
      const auto address = parse_hex_number(value);
      if (!address) return malformed("a watched address that is not a number");
      stop.watch = *watch;
      stop.watch_address = Gva{*address};
    }
  }
  return stop;
}

Result<Features> parse_features(std::string_view reply) {
  Features features;
  for (auto rest = reply; !rest.empty();) {
    const auto feature = take_until(rest, ';');
    if (feature == "qXfer:features:read+") features.target_description = true;
    if (feature == "vContSupported+") features.vcont = true;
    if (feature == "QStartNoAckMode+") features.no_ack_mode = true;
    constexpr std::string_view kPacketSize = "PacketSize=";
    if (feature.starts_with(kPacketSize)) {
      const auto size = parse_hex_number(feature.substr(kPacketSize.size()));
      if (!size || *size < 64) return host_error("the gdbstub announced a useless \"{}\"", printable(feature));
      features.packet_size = static_cast<std::size_t>(std::min<std::uint64_t>(*size, PacketDecoder::kMaxPayload));
    }
  }
  return features;
}

Result<std::optional<std::vector<std::uint64_t>>> parse_thread_list(std::string_view reply) {
  if (reply == "l") return std::optional<std::vector<std::uint64_t>>();
  const auto malformed = [reply] {
    return host_error("the gdbstub sent \"{}\" where a list of threads was due", printable(reply));
  };
  if (!reply.starts_with('m')) return malformed();
  std::vector<std::uint64_t> threads;
  for (auto rest = reply.substr(1); !rest.empty();) {
    const auto thread = parse_hex_number(take_until(rest, ','));
    if (!thread) return malformed();
    threads.push_back(*thread);
  }
  if (threads.empty()) return malformed();
  return std::optional(std::move(threads));
}

Result<Transfer> parse_transfer(std::string_view reply) {
  if (!reply.starts_with('m') && !reply.starts_with('l')) {
    return host_error("the gdbstub sent \"{}\" where a part of a file was due", printable(reply));
  }
  return Transfer{reply.substr(1), reply[0] == 'l'};
}

}  // namespace panicroom::rsp
