#include "agent/guest/channel.h"

#include <sys/io.h>
#include <time.h>

#include "agent/protocol/frame.h"

namespace panicroom::agent {
namespace {

std::uint64_t nanoseconds_since_boot() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

bool Channel::open() {
  open_ = iopl(3) == 0;
  return open_;
}

void Channel::send(v1::Message message) {
  if (!open_) return;
  message.set_sequence(sequence_);
  message.set_guest_nanoseconds(nanoseconds_since_boot());
  const auto frame = encode_frame(message);
  if (!frame) return;  // Cannot be: the callers cut what could be large. The host would see it missing.
  ++sequence_;
  const std::byte* from = frame->data();
  std::size_t count = frame->size();
  asm volatile("cld; rep outsb" : "+S"(from), "+c"(count) : "d"(kAgentPort) : "memory");
}

}  // namespace panicroom::agent
