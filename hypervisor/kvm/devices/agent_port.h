// The guest agent's way out: one port that takes bytes (Bochs' and QEMU's "debugcon"), cheap enough to be used from
// anywhere. A read gives 0xe9, by which the guest knows that it is there.
//
// A plain value. What the guest writes is kept until take_output(), so take it after each access.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace panicroom::kvm {

class AgentPort {
 public:
  static constexpr std::uint8_t kPresent = 0xe9;

  [[nodiscard]] static std::uint8_t read() { return kPresent; }
  void write(std::uint8_t value) { output_.push_back(static_cast<char>(value)); }

  // What was written since the last call.
  std::string take_output() { return std::exchange(output_, {}); }

  friend bool operator==(const AgentPort&, const AgentPort&) = default;

 private:
  std::string output_;
};

}  // namespace panicroom::kvm
