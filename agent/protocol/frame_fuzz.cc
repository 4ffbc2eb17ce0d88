// Feeds the frame decoder any stream, whole and cut into pieces: both ways must agree, memory must stay bounded, and
// what is decoded must survive being encoded and decoded again.

#include "agent/protocol/config.h"
#include "agent/protocol/frame.h"
#include "base/testing/require.h"

namespace panicroom::agent {
namespace {

void fuzz(Bytes input) {
  if (input.empty()) return;
  const auto start =
      (std::to_integer<int>(input[0]) & 1) != 0 ? FrameDecoder::Start::kMidStream : FrameDecoder::Start::kFresh;
  const std::size_t step = 1 + std::to_integer<std::size_t>(input[0]) / 2;
  const Bytes stream = input.subspan(1);

  FrameDecoder whole(start);
  const std::vector<Received> received = whole.feed(stream);
  FrameDecoder cut(start);
  std::size_t count = 0;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    count += cut.feed(stream.subspan(at, std::min(step, stream.size() - at))).size();
    require(cut.pending_bytes() <= kMaxFrameBytes + kMaxFrameBytes / 254 + 1);
  }
  require(count == received.size());
  require(cut.messages() == whole.messages() && cut.errors() == whole.errors());
  require(cut.garbage_bytes() == whole.garbage_bytes() && whole.garbage_bytes() <= stream.size());

  for (const Received& one : received) {
    if (const auto* message = std::get_if<v1::Message>(&one)) {
      const auto bytes = encode_frame(*message);
      if (!bytes) continue;
      FrameDecoder again(FrameDecoder::Start::kMidStream);
      const auto back = again.feed(*bytes);
      require(back.size() == 1 && std::holds_alternative<v1::Message>(back[0]));
      require(std::get<v1::Message>(back[0]).SerializeAsString() == message->SerializeAsString());
    } else {
      require(!describe(std::get<ProtocolError>(one)).empty());
    }
  }
  if (const auto config = decode_config(stream)) require(encode_config(*config).has_value());
}

// The checksum would keep a fuzzer out of the parts behind it: so half of the inputs are framed here first.
void fuzz_payload(Bytes input) {
  v1::Message message;
  if (!message.ParseFromArray(input.data(), static_cast<int>(input.size()))) return;
  if (const auto bytes = encode_frame(message)) {
    FrameDecoder decoder(FrameDecoder::Start::kMidStream);
    require(decoder.feed(*bytes).size() == 1);
  }
}

}  // namespace
}  // namespace panicroom::agent

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  panicroom::agent::fuzz(input);
  panicroom::agent::fuzz_payload(input);
  return 0;
}
