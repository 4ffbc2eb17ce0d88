#include "tests/mutating_machine.h"

#include "harness/director/lent_memory.h"

namespace panicroom::tests {

hypervisor::Event MutatingMachine::next_event(hypervisor::Clock::time_point deadline) {
  auto event = hypervisor::Event(hypervisor::DeadlinePassed{});
  if (waiting_.empty()) {
    event = machine_->next_event(deadline);
  } else {
    event = std::move(waiting_.front());
    waiting_.pop_front();
  }
  if (auto* output = std::get_if<hypervisor::Output>(&event); output != nullptr) {
    if (output->stream == hypervisor::Stream::kAgent) {
      auto bytes = changed(output->bytes);
      if (!bytes) return hypervisor::MachineLost{bytes.error()};
      output->bytes = *std::move(bytes);
    }
  }
  return event;
}

// What the agent lends is no part of its message: a message with text, as if it had come through the port, can be
// changed.
Result<> MutatingMachine::take_lent(agent::v1::DeadLog& log) {
  TRY(machine_->pause());
  while (true) {
    auto event = machine_->next_event(hypervisor::Clock::time_point::max());
    if (hypervisor::stops(event)) {
      if (!std::holds_alternative<hypervisor::Paused>(event)) return host_error("it stopped by itself");
      break;
    }
    waiting_.push_back(std::move(event));
  }
  const auto bytes = TRY(harness::take_lent(*machine_, log.lent()));
  log.clear_lent();
  log.set_text(bytes.data(), bytes.size());
  return machine_->resume();
}

Result<> MutatingMachine::restore(const std::string& name) {
  frames_ = agent::FrameDecoder(agent::FrameDecoder::Start::kMidStream);
  capture_ = false;
  waiting_.clear();
  TRY(machine_->restore(name));
  armed_.clear();
  for (std::uint32_t cpu = 0; cpu < vcpus(); ++cpu) armed_.push_back(TRY(machine_->registers(VcpuId{cpu})));
  return {};
}

// The first kernel's messages go on as they are. A message that is left out must not be missed: only the truth is to be
// wrong, not the stream.
Result<std::string> MutatingMachine::changed(const std::string& bytes) {
  std::string out;
  for (const auto& received : frames_.feed(as_bytes(bytes))) {
    const auto* arrived = std::get_if<agent::v1::Message>(&received);
    if (arrived == nullptr) continue;
    auto message = *arrived;
    if (message.has_hello() && message.hello().mode() == agent::v1::MODE_CAPTURE) {
      capture_ = true;
      sequence_ = 0;
    }
    if (capture_) {
      if (message.has_dead_log() && message.dead_log().has_lent()) TRY(take_lent(*message.mutable_dead_log()));
      if (!mutation_(message, armed_)) continue;
      message.set_sequence(sequence_++);
    }
    const auto frame = agent::encode_frame(message);
    if (frame) out.append(reinterpret_cast<const char*>(frame->data()), frame->size());
  }
  return out;
}

}  // namespace panicroom::tests
