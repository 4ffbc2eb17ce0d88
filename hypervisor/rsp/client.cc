#include "hypervisor/rsp/client.h"

#include <algorithm>

namespace panicroom::rsp {
namespace {

// What QEMU 7.2 puts into one packet at most, whichever way it goes (MAX_PACKET_LENGTH), and half of it is what an `m`
// request may ask for; larger announcements are not relied on.
constexpr std::size_t kMaxPacket = 4096;
// The longest request around the data: "M", 16 digits, ",", 4 digits, ":" and the framing "$#cs".
constexpr std::size_t kRequestOverhead = 32;
constexpr std::size_t kMaxAnnex = std::size_t{1} << 20;
constexpr std::size_t kMaxVcpus = 4096;
// After that many reads the registers are what was asked for, or will never be. Loading a selector changes its base,
// which the second read sees and the third confirms.
constexpr int kRegisterRounds = 3;

Error refused(std::string_view what, std::string_view reply) {
  if (reply.empty()) return host_error("{}: this gdbstub does not know the request", what);
  if (parse_error_reply(reply)) return host_error("{}: the gdbstub answered {}", what, reply);
  return host_error("{}: the gdbstub answered \"{}\"", what, printable(reply));
}

}  // namespace

Result<Client> Client::connect(const std::filesystem::path& socket_path, Clock::time_point deadline,
                               ClientConfig config) {
  Client client(TRY(Connection::open(socket_path, deadline)), config);
  TRY_CONTEXT(fmt::format("the gdbstub at {}", socket_path.native()), client.shake_hands(deadline));
  return client;
}

Result<Client> Client::attach(UniqueFd socket, Clock::time_point deadline, ClientConfig config) {
  Client client(TRY(Connection::adopt(std::move(socket))), config);
  TRY(client.shake_hands(deadline));
  return client;
}

Result<> Client::shake_hands(Clock::time_point deadline) {
  // QEMU stops a running target when somebody connects, and reports that before it answers anything.
  late_stop_possible_ = true;
  // Without "multiprocess+" thread ids are plain numbers: vCPU + 1.
  const auto features = TRY(ask("qSupported:xmlRegisters=i386", deadline));
  features_ = TRY(parse_features(features));
  if (!features_.target_description || !features_.vcont) {
    return fail(host_error("the gdbstub lacks {}: it must be that of qemu-system-x86_64 7.2 or later",
                           features_.vcont ? "target descriptions" : "vCont"));
  }
  if (features_.no_ack_mode) {
    const auto reply = TRY(ask("QStartNoAckMode", deadline));
    if (reply != "OK") return fail(refused("leaving out acknowledgements", reply));
    connection_.stop_acknowledging();
  }
  // Before anything else: QEMU 7.2 knows the requests for single registers only once target.xml was read.
  const auto description = TRY(read_annex("target.xml", deadline));
  const auto fetch = [&](std::string_view annex) { return read_annex(annex, deadline); };
  const auto slots = TRY(parse_target_description(description, fetch));
  layout_ = TRY(RegisterLayout::create(slots));

  std::vector<std::uint64_t> threads;
  for (std::string_view request = "qfThreadInfo";; request = "qsThreadInfo") {
    const auto reply = TRY(ask(request, deadline));
    const auto part = TRY(parse_thread_list(reply));
    if (!part) break;
    threads.insert(threads.end(), part->begin(), part->end());
    if (threads.size() > kMaxVcpus) return fail(host_error("the gdbstub lists more than {} threads", kMaxVcpus));
  }
  std::sort(threads.begin(), threads.end());
  for (std::size_t i = 0; i < threads.size(); ++i) {
    if (threads[i] != i + 1) return fail(host_error("the gdbstub's threads are not numbered as QEMU numbers vCPUs"));
  }
  if (threads.empty()) return fail(host_error("the gdbstub lists no threads"));
  vcpu_count_ = threads.size();

  // The mode outlives connections: a client that was killed may have left it on.
  const auto reply = TRY(ask("Qqemu.PhyMemMode:0", deadline));
  if (reply != "OK") return fail(refused("choosing virtual memory", reply));
  return {};
}

Result<std::string> Client::read_annex(std::string_view annex, Clock::time_point deadline) {
  std::string text;
  const auto chunk = std::min(features_.packet_size, kMaxPacket) / 2 - 8;
  while (true) {
    const auto reply = TRY(ask(fmt::format("qXfer:features:read:{}:{:x},{:x}", annex, text.size(), chunk), deadline));
    if (reply.empty() || parse_error_reply(reply)) return fail(refused(fmt::format("reading {}", annex), reply));
    const auto part = TRY(parse_transfer(reply));
    text += part.data;
    if (part.last) return text;
    if (part.data.empty() || text.size() > kMaxAnnex) {
      return fail(host_error("the gdbstub's {} has no end (after {} bytes)", annex, text.size()));
    }
  }
}

Error Client::fail(Error error) {
  if (!broken_) broken_ = error;
  return error;
}

Result<> Client::check_stopped(std::string_view what) const {
  if (broken_) return *broken_;
  if (running_) return host_error("{} while the vCPUs run: stop them first", what);
  return {};
}

Result<std::string> Client::thread_of(VcpuId vcpu) const {
  if (index(vcpu) >= vcpu_count_) return host_error("there is no vCPU {}: the machine has {}", vcpu, vcpu_count_);
  return fmt::format("{:x}", index(vcpu) + 1);
}

Result<std::string> Client::ask(std::string_view request, Clock::time_point deadline) {
  TRY(check_stopped("a request"));
  auto sent = connection_.send_packet(request, deadline);
  if (!sent) return fail(std::move(sent).error());
  while (true) {
    auto reply = connection_.receive(deadline);
    if (!reply) return fail(std::move(reply).error().with_context(printable(request, 24)));
    if (!*reply) {
      return fail(host_error("QEMU hangs: its gdbstub did not answer \"{}\" in time", printable(request, 24)));
    }
    if (looks_like_stop_reply(**reply)) {
      const bool gone = (*reply)->front() == 'W' || (*reply)->front() == 'X';
      if (gone) return fail(host_error("QEMU has ended (\"{}\")", printable(**reply)));
      if (std::exchange(late_stop_possible_, false)) continue;
      return fail(host_error("the gdbstub answered \"{}\" with the stop reply \"{}\"", printable(request, 24),
                             printable(**reply)));
    }
    late_stop_possible_ = false;
    return std::move(**reply);
  }
}

Result<> Client::command(std::string_view request, std::string_view what) {
  const auto reply = TRY(ask(request));
  if (reply == "OK") return {};
  auto error = refused(what, reply);
  if (!reply.empty() && !parse_error_reply(reply)) return fail(std::move(error));
  return error;
}

Result<> Client::select(VcpuId vcpu) {
  if (selected_ == vcpu) return {};
  const auto thread = TRY(thread_of(vcpu));
  TRY(command("Hg" + thread, fmt::format("choosing vCPU {}", vcpu)));
  selected_ = vcpu;
  return {};
}

Result<hypervisor::Registers> Client::read_registers(VcpuId vcpu) {
  TRY(check_stopped("reading registers"));
  TRY(select(vcpu));
  const auto reply = TRY(ask("g"));
  const auto what = fmt::format("reading vCPU {}'s registers", vcpu);
  if (reply.empty() || parse_error_reply(reply)) return refused(what, reply);
  const auto bytes = decode_hex(reply);
  if (!bytes) return fail(refused(what, reply));
  auto registers = layout_.unpack(*bytes);
  if (!registers) return fail(std::move(registers).error().with_context(what));
  return registers;
}

Result<> Client::write_registers(VcpuId vcpu, const hypervisor::Registers& registers) {
  TRY(check_stopped("writing registers"));
  for (int round = 0;; ++round) {
    const auto current = TRY(read_registers(vcpu));
    const auto changes = TRY(layout_.changes(current, registers));
    if (changes.empty()) return {};
    if (round == kRegisterRounds) {
      return host_error("vCPU {} did not take the value {} (little-endian) for its register {}", vcpu,
                        encode_hex(changes.front().value), changes.front().name);
    }
    for (const auto& change : changes) {
      TRY(command(fmt::format("P{:x}={}", change.number, encode_hex(change.value)),
                  fmt::format("writing vCPU {}'s register {}", vcpu, change.name)));
    }
  }
}

Result<std::vector<std::byte>> Client::read_chunks(std::uint64_t address, std::size_t length) {
  if (length > 0 && address + (length - 1) < address) {
    return host_error("reading {} bytes at {:#x}: beyond the end of the address space", length, address);
  }
  const auto chunk_size = std::min(features_.packet_size, kMaxPacket) / 2 - 8;
  std::vector<std::byte> bytes;
  bytes.reserve(length);
  while (bytes.size() < length) {
    const auto at = address + bytes.size();
    const auto chunk = std::min(chunk_size, length - bytes.size());
    const auto reply = TRY(ask(fmt::format("m{:x},{:x}", at, chunk)));
    const auto what = [&] { return fmt::format("reading {} bytes at {:#x}", chunk, at); };
    if (reply.empty() || parse_error_reply(reply)) return refused(what(), reply);
    const auto part = decode_hex(reply);
    if (!part || part->size() != chunk) return fail(refused(what(), reply));
    bytes.insert(bytes.end(), part->begin(), part->end());
  }
  return bytes;
}

Result<> Client::write_chunks(std::uint64_t address, Bytes bytes) {
  if (!bytes.empty() && address + (bytes.size() - 1) < address) {
    return host_error("writing {} bytes at {:#x}: beyond the end of the address space", bytes.size(), address);
  }
  const auto chunk_size = (std::min(features_.packet_size, kMaxPacket) - kRequestOverhead) / 2;
  while (!bytes.empty()) {
    const auto chunk = bytes.first(std::min(chunk_size, bytes.size()));
    TRY(command(fmt::format("M{:x},{:x}:{}", address, chunk.size(), encode_hex(chunk)),
                fmt::format("writing {} bytes at {:#x}", chunk.size(), address)));
    bytes = bytes.subspan(chunk.size());
    address += chunk.size();
  }
  return {};
}

Result<std::vector<std::byte>> Client::read_memory(VcpuId vcpu, Gva address, std::size_t length) {
  TRY(check_stopped("reading memory"));
  TRY(select(vcpu));
  return read_chunks(address.value, length);
}

Result<> Client::write_memory(VcpuId vcpu, Gva address, Bytes bytes) {
  TRY(check_stopped("writing memory"));
  TRY(select(vcpu));
  return write_chunks(address.value, bytes);
}

template <typename Operation>
auto Client::in_physical_mode(Operation operation) -> decltype(operation()) {
  TRY(command("Qqemu.PhyMemMode:1", "choosing physical memory"));
  auto result = operation();
  auto restored = command("Qqemu.PhyMemMode:0", "choosing virtual memory again");
  // The operation's own error tells more; a client that ended with it cannot restore anything.
  if (!result) return result;
  if (!restored) return fail(std::move(restored).error());
  return result;
}

Result<std::vector<std::byte>> Client::read_physical(Gpa address, std::size_t length) {
  TRY(check_stopped("reading memory"));
  return in_physical_mode([&] { return read_chunks(address.value, length); });
}

Result<> Client::write_physical(Gpa address, Bytes bytes) {
  TRY(check_stopped("writing memory"));
  return in_physical_mode([&] { return write_chunks(address.value, bytes); });
}

Result<> Client::change_breakpoint(char action, Gva address, BreakpointKind kind) {
  TRY(check_stopped("changing breakpoints"));
  const char type = kind == BreakpointKind::kHardware ? '1' : '0';
  return command(fmt::format("{}{},{:x},1", action, type, address.value),
                 fmt::format("{} a breakpoint at {}", action == 'Z' ? "inserting" : "removing", address));
}

Result<> Client::insert_breakpoint(Gva address, BreakpointKind kind) { return change_breakpoint('Z', address, kind); }

Result<> Client::remove_breakpoint(Gva address, BreakpointKind kind) { return change_breakpoint('z', address, kind); }

Result<> Client::set_running(std::string_view request) {
  auto sent = connection_.send_packet(request, reply_deadline());
  if (!sent) return fail(std::move(sent).error());
  running_ = true;
  interrupt_sent_ = false;
  selected_.reset();
  return {};
}

Result<StopReply> Client::step(VcpuId vcpu) {
  TRY(check_stopped("stepping"));
  const auto thread = TRY(thread_of(vcpu));
  // The round trip also flushes a late stop reply, see interrupt(). And QEMU ends the single-step mode of the vCPU that
  // a stop is reported for, which is the one chosen here if the step is interrupted: else `vcpu` would go on stepping
  // later.
  TRY(command("Hc" + thread, fmt::format("choosing vCPU {}", vcpu)));
  TRY(set_running("vCont;s:" + thread));
  auto stop = TRY(wait_stop(Clock::now() + config_.step_timeout));
  if (!stop) {
    TRY(interrupt());
    stop = TRY(wait_stop(reply_deadline()));
  }
  if (!stop) return fail(host_error("QEMU hangs: stepping vCPU {}, it did not stop when interrupted", vcpu));
  return *stop;
}

Result<> Client::resume(std::span<const VcpuId> vcpus) {
  TRY(check_stopped("resuming"));
  if (vcpus.empty()) return host_error("resuming no vCPU at all: nothing would ever stop");
  std::string request = "vCont";
  for (const auto vcpu : vcpus) request += ";c:" + TRY(thread_of(vcpu));
  if (late_stop_possible_) TRY(ask("qC"));
  return set_running(request);
}

Result<> Client::detach() {
  TRY(check_stopped("detaching"));
  TRY(command("D", "detaching"));
  broken_ = host_error("detached from the gdbstub");
  return {};
}

Result<> Client::interrupt() {
  if (broken_) return *broken_;
  if (!running_ || interrupt_sent_) return {};
  auto sent = connection_.send_interrupt(reply_deadline());
  if (!sent) return fail(std::move(sent).error());
  interrupt_sent_ = true;
  return {};
}

Result<StopReply> Client::take_stop(std::string_view reply) {
  const auto raw = TRY(parse_stop_reply(reply));
  StopReply stop{raw.kind, raw.code, std::nullopt, raw.watch, raw.watch_address};
  if (raw.thread) {
    if (*raw.thread < 1 || *raw.thread > vcpu_count_) {
      return host_error("the gdbstub reports a stop of thread {}, but there are {}: \"{}\"", *raw.thread, vcpu_count_,
                        printable(reply));
    }
    stop.vcpu = VcpuId{static_cast<std::uint32_t>(*raw.thread - 1)};
  }
  running_ = false;
  late_stop_possible_ = interrupt_sent_;
  if (stop.is_gone()) broken_ = host_error("QEMU has ended (\"{}\")", printable(reply));
  return stop;
}

Result<std::optional<StopReply>> Client::read_stop() { return wait_stop(Clock::time_point::min()); }

Result<std::optional<StopReply>> Client::wait_stop(Clock::time_point deadline) {
  if (broken_) return *broken_;
  if (!running_) return std::optional<StopReply>();
  auto reply = connection_.receive(deadline);
  if (!reply) return fail(std::move(reply).error());
  if (!*reply) return std::optional<StopReply>();
  auto stop = take_stop(**reply);
  if (!stop) return fail(std::move(stop).error());
  return std::optional(*std::move(stop));
}

}  // namespace panicroom::rsp
