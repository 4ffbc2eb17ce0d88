#include "tests/mutating_machine.h"

namespace panicroom::tests {

hypervisor::Event MutatingMachine::next_event(hypervisor::Clock::time_point deadline) {
  auto event = machine_->next_event(deadline);
  if (auto* output = std::get_if<hypervisor::Output>(&event); output != nullptr) {
    if (output->stream == hypervisor::Stream::kAgent) output->bytes = changed(output->bytes);
  }
  return event;
}

Result<> MutatingMachine::restore(const std::string& name) {
  frames_ = agent::FrameDecoder(agent::FrameDecoder::Start::kMidStream);
  capture_ = false;
  TRY(machine_->restore(name));
  armed_.clear();
  for (std::uint32_t cpu = 0; cpu < vcpus(); ++cpu) armed_.push_back(TRY(machine_->registers(VcpuId{cpu})));
  return {};
}

// The first kernel's messages go on as they are. A message that is left out must not be missed: only the truth is to be
// wrong, not the stream.
std::string MutatingMachine::changed(const std::string& bytes) {
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
      if (!mutation_(message, armed_)) continue;
      message.set_sequence(sequence_++);
    }
    const auto frame = agent::encode_frame(message);
    if (frame) out.append(reinterpret_cast<const char*>(frame->data()), frame->size());
  }
  return out;
}

}  // namespace panicroom::tests
