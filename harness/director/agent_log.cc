#include "harness/director/agent_log.h"

#include <fmt/format.h>

namespace panicroom::harness {
namespace {

using agent::v1::Message;

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

std::string describe_heartbeat(const agent::v1::Heartbeat& heartbeat) {
  std::string text = fmt::format("heartbeat, {} CPUs online", heartbeat.online_cpus());
  for (const auto& workload : heartbeat.workloads()) {
    text += fmt::format(", cpu{} {}{}", workload.cpu(), workload.passes(), workload.ended() ? " (ended)" : "");
  }
  return text;
}

std::string describe_lent(std::string_view what, const agent::v1::Lent& lent) {
  std::uint64_t bytes = 0;
  for (const auto& range : lent.ranges()) bytes += range.bytes();
  return fmt::format("{}, {} bytes in the guest's memory", what, bytes);
}

std::string describe_kind(const Message& message) {
  switch (message.kind_case()) {
    case Message::kHello:
      return fmt::format("hello from the {} kernel {}, {} of {} CPUs online",
                         message.hello().mode() == agent::v1::MODE_CAPTURE ? "capture" : "first",
                         escaped(message.hello().kernel_release()), message.hello().online_cpus(),
                         message.hello().possible_cpus());
    case Message::kWorkloadReady:
      return fmt::format("workload {} runs on cpu{}", escaped(message.workload_ready().name()),
                         message.workload_ready().cpu());
    case Message::kArmed:
      return fmt::format("armed by {}, {} bytes of crash memory",
                         message.armed().kexec() == agent::v1::KEXEC_CALL_LOAD ? "kexec_load()" : "kexec_file_load()",
                         message.armed().crash_size());
    case Message::kHeartbeat:
      return describe_heartbeat(message.heartbeat());
    case Message::kFailed:
      return fmt::format("failed: {}", escaped(message.failed().text()));
    case Message::kVmcoreOpened:
      return fmt::format("vmcore opened, {} bytes", message.vmcore_opened().size());
    case Message::kCheck:
      return fmt::format("check {}: {}; expected {}, found {}", escaped(message.check().name()),
                         message.check().ok() ? "ok" : "NOT OK", escaped(message.check().expected()),
                         escaped(message.check().actual()));
    case Message::kPrstatus:
      return fmt::format("prstatus {}: pid {} rip {:#x} rsp {:#x}", message.prstatus().index(),
                         message.prstatus().pid(), message.prstatus().registers().rip(),
                         message.prstatus().registers().rsp());
    case Message::kVmcoreinfo:
      return fmt::format("vmcoreinfo, {} bytes", message.vmcoreinfo().text().size());
    case Message::kDeadLog:
      if (message.dead_log().has_lent()) return describe_lent("log of the dead kernel", message.dead_log().lent());
      return fmt::format("log of the dead kernel, {} bytes", message.dead_log().text().size());
    case Message::kJudged:
      return fmt::format("judged: {} checks passed, {} failed, {} CPUs with registers",
                         message.judged().checks_passed(), message.judged().checks_failed(),
                         message.judged().cpus_with_registers());
    case Message::kLoad:
      return fmt::format("PT_LOAD {:#x} at {:#x}, {} bytes", message.load().physical_address(),
                         message.load().virtual_address(), message.load().bytes());
    case Message::kSamples:
      return fmt::format("{} samples of memory", message.samples().samples_size());
    case Message::kDumpPart:
      return describe_lent(fmt::format("part of the dump at {}", message.dump_part().offset()),
                           message.dump_part().lent());
    case Message::kDumpSaved:
      return fmt::format("makedumpfile ended with {}, {} bytes written; it said: {}",
                         message.dump_saved().exit_status(), message.dump_saved().bytes(),
                         escaped(message.dump_saved().said()));
    case Message::KIND_NOT_SET:
      break;
  }
  return "a message of a kind that is not known";
}

}  // namespace

std::string describe(const Message& message) {
  return fmt::format("[{:12.6f}] #{} {}", static_cast<double>(message.guest_nanoseconds()) / 1e9, message.sequence(),
                     describe_kind(message));
}

}  // namespace panicroom::harness
