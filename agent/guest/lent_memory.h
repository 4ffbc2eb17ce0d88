// Memory of the agent's that the host reads from outside, for what is too much for the port (agent.proto, Lent).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "agent/protocol/agent.pb.h"
#include "base/address.h"

namespace panicroom::agent {

// Stays where it is, in this process and in the guest, until the end of both: what is lent is never taken back.
class LentMemory {
 public:
  // Nothing if there is not so much memory, or if the kernel does not tell where it lies.
  static std::optional<LentMemory> create(std::size_t bytes);

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  // The first `used` bytes, as they are now. The host is asked to acknowledge by writing `acknowledgement`, which is
  // not 0, over what acknowledged() tells.
  void lend(std::size_t used, std::uint64_t acknowledgement, v1::Lent& out) const;
  // The same, with no acknowledgement.
  void lend(std::size_t used, v1::Lent& out) const;
  // What the host has written last; 0 in the beginning.
  [[nodiscard]] std::uint64_t acknowledged() const;

 private:
  LentMemory(std::span<std::byte> bytes, volatile std::uint64_t* word, std::vector<Gpa> frames)
      : bytes_(bytes), word_(word), frames_(std::move(frames)) {}

  std::span<std::byte> bytes_;
  volatile std::uint64_t* word_;  // On a page of its own, behind the others.
  std::vector<Gpa> frames_;
};

}  // namespace panicroom::agent
