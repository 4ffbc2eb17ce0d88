// Feeds the packet decoder and every reply parser with hostile bytes, and checks what must hold besides not crashing:
// the decoder does not care how its input is cut, what is encoded decodes to itself, sizes stay within their bounds,
// and a register layout never reaches beyond what it describes.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/testing/require.h"
#include "hypervisor/rsp/packet.h"
#include "hypervisor/rsp/register_layout.h"
#include "hypervisor/rsp/replies.h"

namespace panicroom::rsp {
namespace {

struct Decoded {
  std::vector<PacketDecoder::Event> events;
  std::string error;
  friend bool operator==(const Decoded&, const Decoded&) = default;
};

Decoded decode(std::string_view bytes, std::size_t piece) {
  PacketDecoder decoder;
  Decoded decoded;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    decoder.feed(bytes.substr(at, piece));
    while (true) {
      auto event = decoder.next();
      if (!event) {
        decoded.error = event.error().message();
        return decoded;
      }
      if (!*event) break;
      require((*event)->payload.size() <= PacketDecoder::kMaxPayload, "payloads are bounded");
      decoded.events.push_back(std::move(**event));
    }
  }
  return decoded;
}

void parse_reply(std::string_view reply) {
  const auto stop = parse_stop_reply(reply);
  require(!stop || looks_like_stop_reply(reply), "what parses as a stop reply looks like one");
  require(!stop || !parse_error_reply(reply), "no reply is both a stop and an error");
  if (const auto bytes = decode_hex(reply)) {
    require(decode_hex(encode_hex(*bytes)) == bytes, "bytes survive hexadecimal");
    require(bytes->empty() || !parse_error_reply(reply), "data is never taken for an error");
  }
  if (const auto features = parse_features(reply)) {
    require(features->packet_size >= 64 && features->packet_size <= PacketDecoder::kMaxPayload,
            "PacketSize is bounded");
  }
  if (const auto threads = parse_thread_list(reply)) require(!*threads || !(*threads)->empty(), "no empty thread list");
  if (const auto part = parse_transfer(reply))
    require(part->data.size() + 1 == reply.size(), "a transfer loses nothing");
}

// The part before the first NUL is target.xml, what follows is every file that it includes.
void parse_description(std::string_view text) {
  const auto end = text.find('\0');
  const auto annex = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  const auto slots = parse_target_description(
      text.substr(0, end), [annex](std::string_view) -> Result<std::string> { return std::string(annex); });
  if (!slots) return;
  std::size_t offset = 0;
  for (const auto& slot : *slots) {
    require(slot.offset == offset && slot.size > 0, "registers adjoin");
    offset += slot.size;
  }
  const auto layout = RegisterLayout::create(*slots);
  if (!layout) return;
  std::vector<std::byte> bytes(offset, std::byte{0xa5});
  const auto registers = layout->unpack(bytes);
  require(registers.has_value(), "a layout fits what it describes");
  const auto changes = layout->changes({}, *registers);
  require(changes && !changes->empty(), "what was unpacked can be written");
}

}  // namespace
}  // namespace panicroom::rsp

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using panicroom::require;
  using namespace panicroom::rsp;  // NOLINT(google-build-using-namespace)
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const auto whole = decode(text, size == 0 ? 1 : size);
  require(whole == decode(text, 1), "cutting the input changes nothing");
  require(whole == decode(text, 7), "cutting the input changes nothing");
  for (const auto& event : whole.events) parse_reply(event.payload);

  if (size <= PacketDecoder::kMaxPayload) {
    const auto again = decode(encode_packet(text), 3);
    require(again.error.empty() && again.events.size() == 1 && again.events[0].payload == text, "encoding is undone");
  }
  parse_reply(text);
  parse_description(text);
  return 0;
}
