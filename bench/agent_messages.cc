// panicroom_bench_messages: reads an agent port's bytes from the standard input and prints each message as a line, as
// soon as it is complete. Ends at the end of the input. Bytes that are no message, such as the firmware's, are passed
// over.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <variant>

#include "agent/protocol/frame.h"
#include "harness/director/agent_log.h"

int main() {
  panicroom::agent::FrameDecoder frames(panicroom::agent::FrameDecoder::Start::kMidStream);
  std::array<std::byte, 1 << 16> buffer{};
  while (true) {
    const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0 ? 0 : 1;
    for (const auto& received : frames.feed(panicroom::Bytes(buffer).first(static_cast<std::size_t>(got)))) {
      const auto* message = std::get_if<panicroom::agent::v1::Message>(&received);
      if (message == nullptr) continue;
      fmt::print("{}\n", panicroom::harness::describe(*message));
      std::fflush(stdout);
    }
  }
}
