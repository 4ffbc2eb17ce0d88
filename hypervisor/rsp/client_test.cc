// The client against a scripted stub on the other end of a socket pair: what a real QEMU does not do, or not when asked
// to.
#include "hypervisor/rsp/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "hypervisor/rsp/description_for_test.h"

namespace panicroom::rsp {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr VcpuId kFirst{0};
constexpr VcpuId kSecond{1};
// Never reached unless the client is wrong.
const auto kPatience = std::chrono::seconds(30);
// For replies that never come.
constexpr std::chrono::milliseconds kImpatience{20};

std::string framed(std::string_view payload) { return encode_packet(payload); }

// What a script returns to end the connection after what it sends.
constexpr std::string_view kClose = "<close>";

// Answers like QEMU 7.2 with two vCPUs, 64 KiB of memory at 0 and registers that can be written. Requests are handled
// in a thread of its own; `script` is asked first and may give the raw bytes to send instead (empty: no answer).
class Stub {
 public:
  using Script = std::function<std::optional<std::string>(const std::string& request)>;

  explicit Stub(Script script = nullptr) : script_(std::move(script)) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ours_ = UniqueFd(ends[0]);
    theirs_ = UniqueFd(ends[1]);
    thread_ = std::thread([this] { serve(); });
  }
  ~Stub() {
    ::shutdown(ours_.get(), SHUT_RDWR);
    thread_.join();
  }

  Result<Client> connect(ClientConfig config = {}) {
    return Client::attach(std::move(theirs_), Clock::now() + kPatience, config);
  }
  void send(std::string_view bytes) const {
    // The client may have left already.
    const auto sent = ::send(ours_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    EXPECT_TRUE(sent == static_cast<ssize_t>(bytes.size()) || errno == EPIPE);
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  void forget_requests() {
    const std::lock_guard lock(mutex_);
    requests_.clear();
  }
  [[nodiscard]] int acks() const { return acks_; }
  std::string qsupported = "PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+";

 private:
  void serve() {
    PacketDecoder decoder;
    char buffer[4096];
    while (true) {
      const auto got = ::recv(ours_.get(), buffer, sizeof(buffer), 0);
      if (got <= 0) return;
      // In the order of arrival: an interrupt may stand between two packets.
      for (std::string_view rest(buffer, static_cast<std::size_t>(got)); !rest.empty();) {
        const auto interrupt = rest.find(kInterrupt);
        if (!handle_packets(decoder, rest.substr(0, interrupt))) return;
        if (interrupt == std::string_view::npos) break;
        if (!handle(std::string(1, kInterrupt))) return;
        rest.remove_prefix(interrupt + 1);
      }
    }
  }

  bool handle_packets(PacketDecoder& decoder, std::string_view bytes) {
    decoder.feed(bytes);
    while (true) {
      auto event = decoder.next();
      EXPECT_TRUE(event) << event.error().message();
      if (!event) return false;
      if (!*event) return true;
      if ((*event)->kind == PacketDecoder::Event::Kind::kAck) ++acks_;
      if ((*event)->kind == PacketDecoder::Event::Kind::kPacket && !handle((*event)->payload)) return false;
    }
  }

  bool handle(const std::string& request) {
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    auto answer = script_ ? script_(request) : std::nullopt;
    if (!answer) answer = well_behaved(request);
    const bool close = answer->ends_with(kClose);
    if (close) answer->resize(answer->size() - kClose.size());
    if (!answer->empty()) send(*answer);
    if (close) ::shutdown(ours_.get(), SHUT_RDWR);
    return !close;
  }

  std::string well_behaved(std::string_view request) {
    if (request[0] == kInterrupt) return "";
    if (request.starts_with("qSupported")) return "+" + framed(qsupported);
    if (request.starts_with("vCont")) return "+";
    return "+" + framed(reply(request));
  }

  std::string reply(std::string_view request) {
    const auto after = [&](std::string_view prefix) { return request.substr(prefix.size()); };
    constexpr std::string_view kTransfer = "qXfer:features:read:";
    if (request.starts_with(kTransfer)) {
      const auto rest = after(kTransfer);
      const auto text = rest.starts_with("target.xml:") ? std::string(kTestTarget) : test_core();
      const auto range = rest.substr(rest.find(':') + 1);
      const auto offset = *parse_hex_number(range.substr(0, range.find(',')));
      const auto length = *parse_hex_number(range.substr(range.find(',') + 1));
      return (offset + length < text.size() ? "m" : "l") + text.substr(offset, length);
    }
    if (request == "qfThreadInfo") return "m01,02";
    if (request == "qsThreadInfo") return "l";
    if (request == "g") return encode_hex(registers_);
    if (request.starts_with('P')) {
      const auto number = *parse_hex_number(request.substr(1, request.find('=') - 1));
      const auto value = *decode_hex(request.substr(request.find('=') + 1));
      EXPECT_LT(number, 17U) << "only the 64-bit registers at the front can be written here";
      std::copy(value.begin(), value.end(), registers_.begin() + static_cast<std::ptrdiff_t>(8 * number));
      return "OK";
    }
    if (request.starts_with('m') || request.starts_with('M')) {
      const auto comma = request.find(',');
      const auto colon = request.find(':');
      const auto address = *parse_hex_number(request.substr(1, comma - 1));
      const auto length =
          *parse_hex_number(request.substr(comma + 1, colon == std::string_view::npos ? colon : colon - comma - 1));
      if (address + length > memory_.size()) return "E14";
      const auto at = memory_.begin() + static_cast<std::ptrdiff_t>(address);
      if (request[0] == 'm') return encode_hex(std::span(at, length));
      const auto data = *decode_hex(request.substr(colon + 1));
      EXPECT_EQ(data.size(), length);
      std::copy(data.begin(), data.end(), at);
      return "OK";
    }
    for (const std::string_view known : {"H", "Z", "z", "D", "Qqemu.PhyMemMode:", "QStartNoAckMode"}) {
      if (request.starts_with(known)) return "OK";
    }
    return "";
  }

  Script script_;
  UniqueFd ours_;
  UniqueFd theirs_;
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::atomic<int> acks_ = 0;
  std::vector<std::byte> registers_ = std::vector<std::byte>(kTestRegisterBytes);
  std::vector<std::byte> memory_ = std::vector<std::byte>(65536);
  std::thread thread_;
};

// A script that gives `raw` for requests that begin with `prefix`.
Stub::Script on(std::string prefix, std::string raw) {
  return [prefix = std::move(prefix), raw = std::move(raw)](const std::string& request) -> std::optional<std::string> {
    if (request.starts_with(prefix)) return raw;
    return std::nullopt;
  };
}

// Of an error that must be there and of kind kHost.
template <typename T>
std::string message_of(const Result<T>& result) {
  if (result) return "(no error)";
  EXPECT_EQ(result.error().kind(), ErrorKind::kHost);
  return result.error().message();
}

TEST(ClientHandshake, ReadsTheDescriptionBeforeAnythingElse) {
  Stub stub;
  const auto client = stub.connect();
  ASSERT_TRUE(client) << client.error().message();
  EXPECT_EQ(client->vcpu_count(), 2U);
  EXPECT_FALSE(client->running());
  const auto requests = stub.requests();
  EXPECT_THAT(requests[0], Not(HasSubstr("multiprocess+")));
  EXPECT_THAT(requests[1], HasSubstr("target.xml:0,"));
  EXPECT_EQ(requests.back(), "Qqemu.PhyMemMode:0") << "an earlier client may have left the physical mode on";
}

TEST(ClientHandshake, SwallowsTheStopThatConnectingCauses) {
  Stub stub;
  stub.send(framed("T02thread:01;"));
  auto client = stub.connect();
  ASSERT_TRUE(client) << client.error().message();
  EXPECT_TRUE(client->read_registers(kFirst));
}

TEST(ClientHandshake, AcknowledgesEachPacketOnce) {
  Stub stub;
  auto client = stub.connect();
  ASSERT_TRUE(client);
  // A request's arrival shows that the acknowledgements before it have arrived: one for each earlier reply.
  ASSERT_TRUE(client->read_registers(kFirst));
  ASSERT_TRUE(client->detach());
  EXPECT_GE(stub.acks(), static_cast<int>(stub.requests().size()) - 1);
  EXPECT_LE(stub.acks(), static_cast<int>(stub.requests().size()));
}

TEST(ClientHandshake, LeavesAcknowledgementsOutWhereItMay) {
  Stub stub([](const std::string& request) -> std::optional<std::string> {
    if (request == "g") return framed(std::string(2 * kTestRegisterBytes, '0'));
    return std::nullopt;
  });
  stub.qsupported += ";QStartNoAckMode+";
  auto client = stub.connect();
  ASSERT_TRUE(client) << client.error().message();
  ASSERT_TRUE(client->read_registers(kFirst));
  EXPECT_LE(stub.acks(), 2) << "for qSupported and QStartNoAckMode at most";
}

TEST(ClientHandshake, SaysWhatTheStubLacks) {
  Stub stub;
  stub.qsupported = "PacketSize=1000";
  EXPECT_THAT(message_of(stub.connect()), HasSubstr("qemu-system-x86_64"));
}

TEST(ClientHandshake, BoundsWhatAHostileStubCanDo) {
  EXPECT_THAT(message_of(Stub(on("qsThreadInfo", framed("m" + std::string(2000, '1').replace(1, 1, ",")))).connect()),
              HasSubstr("list of threads"));
  EXPECT_THAT(message_of(Stub([n = 0](const std::string& request) mutable -> std::optional<std::string> {
                           if (!request.starts_with("qsThreadInfo")) return std::nullopt;
                           std::string more = fmt::format("m{:x}", ++n);
                           for (int i = 0; i < 100; ++i) more += fmt::format(",{:x}", ++n);
                           return framed(more);
                         }).connect()),
              HasSubstr("more than"));
  EXPECT_THAT(message_of(Stub(on("qXfer", framed("m" + std::string(60000, ' ')))).connect()), HasSubstr("no end"));
  EXPECT_THAT(message_of(Stub(on("qXfer", framed("m"))).connect()), HasSubstr("no end"));
  EXPECT_THAT(message_of(Stub(on("qXfer", framed("l<html/>"))).connect()), HasSubstr("<html>"));
  EXPECT_THAT(message_of(Stub(on("qXfer", framed("E00"))).connect()), HasSubstr("E00"));
  EXPECT_THAT(message_of(Stub(on("qfThreadInfo", framed("m2,3"))).connect()), HasSubstr("numbered"));
  EXPECT_THAT(message_of(Stub(on("qfThreadInfo", framed("l"))).connect()), HasSubstr("no threads"));
  EXPECT_THAT(message_of(Stub(on("Qqemu", framed(""))).connect()), HasSubstr("does not know"));
}

TEST(ClientHandshake, ASecondStopReplyIsNoAnswer) {
  Stub stub;
  stub.send(framed("T02thread:01;") + framed("T02thread:01;"));
  EXPECT_THAT(message_of(stub.connect()), HasSubstr("with the stop reply"));
}

TEST(ClientConnect, AnAbsentSocketEndsAtTheDeadline) {
  const auto client = Client::connect("/nonexistent/gdb.sock", Clock::now() + kImpatience);
  EXPECT_THAT(message_of(client), HasSubstr("/nonexistent/gdb.sock"));
}

TEST(ClientConnect, ATooLongPathIsTheUsersError) {
  const auto client = Client::connect("/" + std::string(200, 'x'), Clock::now() + kPatience);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::kInvalidInput);
}

// What a broken QEMU may send in place of the registers, and what the error says of it.
struct Breakage {
  const char* name;
  std::string raw;
  const char* message;
};
class Broken : public testing::TestWithParam<Breakage> {};
INSTANTIATE_TEST_SUITE_P(
    Replies, Broken,
    testing::Values(Breakage{"Nonsense", "HTTP/1.1 400 Bad Request", "outside any packet in \"H\""},
                    Breakage{"BadChecksum", "+$0000#00", "checksum 00"},
                    Breakage{"NotHex", "+" + framed("what\x01?"), "\"what\\x01?\""},
                    Breakage{"TooFewRegisters", "+" + framed("0011"), "end at byte 2"},
                    Breakage{"Nack", "-", "refused"}, Breakage{"ClosedAtOnce", std::string(kClose), "closed"},
                    Breakage{"ClosedInMidReply", "+$0000" + std::string(kClose), "closed"},
                    Breakage{"Truncated", "+$0000", "QEMU hangs"}, Breakage{"Silence", "", "QEMU hangs"},
                    Breakage{"StopReply", "+" + framed("T05thread:01;"), "with the stop reply \"T05thread:01;\""},
                    Breakage{"QemuEnded", "+" + framed("W00"), "QEMU has ended"}),
    [](const auto& breakage) { return breakage.param.name; });

TEST_P(Broken, EndsTheClientWithAnErrorThatSaysWhy) {
  Stub stub(on("g", GetParam().raw));
  auto client = stub.connect({.reply_timeout = std::chrono::milliseconds(200)});
  ASSERT_TRUE(client) << client.error().message();
  const auto first = message_of(client->read_registers(kFirst));
  EXPECT_THAT(first, HasSubstr(GetParam().message));
  stub.forget_requests();
  EXPECT_EQ(message_of(client->read_memory(kFirst, Gva{0}, 1)), first) << "later calls give the same error";
  EXPECT_EQ(message_of(client->interrupt()), first);
  EXPECT_EQ(message_of(client->read_stop()), first);
  EXPECT_THAT(stub.requests(), SizeIs(0));
}

TEST(Client, AnErrorReplyLeavesItUsable) {
  Stub stub(on("z", "+" + framed("E22")));
  auto client = stub.connect();
  ASSERT_TRUE(client);
  EXPECT_THAT(message_of(client->remove_breakpoint(Gva{0x1000})), HasSubstr("E22"));
  EXPECT_THAT(message_of(client->read_memory(kFirst, Gva{0x10000}, 1)), HasSubstr("E14"));
  EXPECT_TRUE(client->read_registers(kFirst));
}

TEST(Client, ChoosesTheVcpuOnlyWhenItChanges) {
  Stub stub;
  auto client = stub.connect();
  ASSERT_TRUE(client);
  stub.forget_requests();
  ASSERT_TRUE(client->read_registers(kSecond));
  ASSERT_TRUE(client->read_registers(kSecond));
  ASSERT_TRUE(client->read_registers(kFirst));
  EXPECT_THAT(stub.requests(), ElementsAre("Hg2", "g", "g", "Hg1", "g"));
  EXPECT_THAT(message_of(client->read_registers(VcpuId{2})), HasSubstr("no vCPU 2"));
}

TEST(Client, WritesOnlyTheRegistersThatDiffer) {
  Stub stub;
  auto client = stub.connect();
  ASSERT_TRUE(client);
  hypervisor::Registers registers;
  registers.rdi = 0x1234;
  registers.rip = 0xffffffff81000000;
  stub.forget_requests();
  ASSERT_TRUE(client->write_registers(kFirst, registers));
  EXPECT_THAT(stub.requests(), ElementsAre("Hg1", "g", "P5=3412000000000000", "P10=00000081ffffffff", "g"));
  EXPECT_EQ(*client->read_registers(kFirst), registers);
}

TEST(Client, ARegisterThatDoesNotTakeItsValueIsAnError) {
  Stub stub(on("P", "+" + framed("OK")));
  auto client = stub.connect();
  ASSERT_TRUE(client);
  hypervisor::Registers registers;
  registers.r9 = 1;
  EXPECT_THAT(message_of(client->write_registers(kSecond, registers)), EndsWith("register r9"));
}

TEST(Client, MemoryGoesInChunksThatFitThePacketSize) {
  Stub stub;
  stub.qsupported = "PacketSize=100;qXfer:features:read+;vContSupported+";
  auto client = stub.connect();
  ASSERT_TRUE(client) << client.error().message();
  std::vector<std::byte> data(1000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7);
  ASSERT_TRUE(client->write_memory(kFirst, Gva{0x123}, data));
  EXPECT_EQ(*client->read_memory(kFirst, Gva{0x123}, data.size()), data);
  for (const auto& request : stub.requests()) EXPECT_LE(encode_packet(request).size(), 0x100U);
  EXPECT_TRUE(client->read_memory(kFirst, Gva{0}, 0)->empty());
}

TEST(Client, MemoryDoesNotWrapAround) {
  Stub stub;
  auto client = stub.connect();
  ASSERT_TRUE(client);
  stub.forget_requests();
  EXPECT_THAT(message_of(client->read_memory(kFirst, Gva{~std::uint64_t{0}}, 2)), HasSubstr("beyond the end"));
  EXPECT_THAT(message_of(client->write_memory(kFirst, Gva{~std::uint64_t{0}}, as_bytes("ab"))), HasSubstr("beyond"));
  EXPECT_THAT(stub.requests(), ElementsAre("Hg1"));
}

TEST(Client, AMemoryReplyOfTheWrongLengthIsNonsense) {
  Stub stub(on("m", "+" + framed("00")));
  auto client = stub.connect();
  ASSERT_TRUE(client);
  EXPECT_THAT(message_of(client->read_memory(kFirst, Gva{0}, 2)), HasSubstr("reading 2 bytes at 0x0"));
  EXPECT_FALSE(client->read_registers(kFirst));
}

TEST(Client, LeavesThePhysicalModeAlsoAfterAnError) {
  Stub stub;
  auto client = stub.connect();
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->write_physical(Gpa{16}, as_bytes("hello")));
  stub.forget_requests();
  EXPECT_EQ(as_text(*client->read_physical(Gpa{16}, 5)), "hello");
  EXPECT_THAT(stub.requests(), ElementsAre("Qqemu.PhyMemMode:1", "m10,5", "Qqemu.PhyMemMode:0"));
  EXPECT_THAT(message_of(client->read_physical(Gpa{0x10000}, 1)), HasSubstr("E14"));
  EXPECT_EQ(stub.requests().back(), "Qqemu.PhyMemMode:0");
}

TEST(Client, AStubThatStaysInThePhysicalModeEndsTheClient) {
  int resets = 0;
  Stub stub([&resets](const std::string& request) -> std::optional<std::string> {
    if (request == "Qqemu.PhyMemMode:0" && ++resets == 2) return "+" + framed("E22");
    return std::nullopt;
  });
  auto client = stub.connect();
  ASSERT_TRUE(client);
  EXPECT_THAT(message_of(client->read_physical(Gpa{0}, 1)), HasSubstr("virtual memory again"));
  EXPECT_FALSE(client->read_memory(kFirst, Gva{0}, 1)) << "it would be physical memory";
}

TEST(ClientRunning, ResumesExactlyTheSetAndReportsTheStop) {
  Stub stub(on("vCont;c:2", "+" + framed("T05thread:02;")));
  auto client = stub.connect();
  ASSERT_TRUE(client);
  stub.forget_requests();
  ASSERT_TRUE(client->resume(std::array{kSecond}));
  EXPECT_TRUE(client->running());
  const auto stop = client->wait_stop(Clock::now() + kPatience);
  ASSERT_TRUE(stop) << stop.error().message();
  ASSERT_TRUE(*stop);
  EXPECT_TRUE((*stop)->is_trap());
  EXPECT_EQ((*stop)->vcpu, kSecond);
  EXPECT_FALSE(client->running());
  EXPECT_EQ(*client->read_stop(), std::nullopt) << "a stop is reported once";
  EXPECT_THAT(stub.requests(), ElementsAre("vCont;c:2"));
}

TEST(ClientRunning, ThreadNumbersAreHexadecimal) {
  Stub stub(on("qfThreadInfo", "+" + framed("m1,2,3,4,5,6,7,8,9,a,b")));
  auto client = stub.connect();
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->read_registers(VcpuId{9}));
  EXPECT_THAT(stub.requests(), Contains("Hga"));
}

TEST(ClientRunning, NothingButStoppingIsLegal) {
  Stub stub([](const std::string& request) -> std::optional<std::string> {
    if (request[0] == kInterrupt) return framed("T02thread:01;");
    return std::nullopt;
  });
  auto client = stub.connect();
  ASSERT_TRUE(client);
  stub.forget_requests();
  ASSERT_TRUE(client->resume(std::array{kFirst, kSecond}));
  EXPECT_EQ(*client->read_stop(), std::nullopt);
  EXPECT_THAT(message_of(client->read_registers(kFirst)), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->write_registers(kFirst, {})), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->read_memory(kFirst, Gva{0}, 1)), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->write_memory(kFirst, Gva{0}, as_bytes("x"))), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->read_physical(Gpa{0}, 1)), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->write_physical(Gpa{0}, as_bytes("x"))), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->insert_breakpoint(Gva{0})), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->step(kFirst)), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->resume(std::array{kFirst})), HasSubstr("while the vCPUs run"));
  EXPECT_THAT(message_of(client->detach()), HasSubstr("while the vCPUs run"));
  ASSERT_TRUE(client->interrupt());
  ASSERT_TRUE(client->interrupt());
  const auto stop = client->wait_stop(Clock::now() + kPatience);
  ASSERT_TRUE(stop && *stop);
  EXPECT_TRUE((*stop)->is_interrupt());
  EXPECT_TRUE(client->read_registers(kFirst)) << "none of it did harm";
  EXPECT_THAT(stub.requests(), ElementsAre("vCont;c:1;c:2", std::string(1, kInterrupt), "Hg1", "g"));
}

TEST(ClientRunning, AnEmptySetIsAnError) {
  Stub stub;
  auto client = stub.connect();
  ASSERT_TRUE(client);
  EXPECT_THAT(message_of(client->resume({})), HasSubstr("no vCPU at all"));
  EXPECT_THAT(message_of(client->resume(std::array{VcpuId{7}})), HasSubstr("no vCPU 7"));
  EXPECT_FALSE(client->running());
}

TEST(ClientRunning, AnInterruptWithoutEffectWhileStandingStill) {
  Stub stub;
  auto client = stub.connect();
  ASSERT_TRUE(client);
  stub.forget_requests();
  ASSERT_TRUE(client->interrupt());
  ASSERT_TRUE(client->read_registers(kFirst));
  EXPECT_THAT(stub.requests(), ElementsAre("Hg1", "g"));
}

// A stub that reports a trap at once, and then answers every interrupt too, though it stands still already.
Stub::Script answers_late_interrupts() {
  return [runs = 0](const std::string& request) mutable -> std::optional<std::string> {
    if (request.starts_with("vCont")) return "+" + framed(++runs == 1 ? "T05thread:01;" : "T05thread:02;");
    if (request[0] == kInterrupt) return framed("T02thread:01;");
    return std::nullopt;
  };
}

TEST(ClientRace, AStopThatCrossedAnInterruptIsNoAnswerToTheNextRequest) {
  Stub stub(answers_late_interrupts());
  auto client = stub.connect();
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->resume(std::array{kFirst}));
  ASSERT_TRUE(client->interrupt());
  const auto stop = client->wait_stop(Clock::now() + kPatience);
  ASSERT_TRUE(stop && *stop);
  EXPECT_TRUE((*stop)->is_trap());
  EXPECT_TRUE(client->read_registers(kFirst));
}

TEST(ClientRace, AStopThatCrossedAnInterruptDoesNotEndTheNextRun) {
  Stub stub(answers_late_interrupts());
  auto client = stub.connect();
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->resume(std::array{kFirst}));
  ASSERT_TRUE(client->interrupt());
  ASSERT_TRUE(*client->wait_stop(Clock::now() + kPatience));
  ASSERT_TRUE(client->resume(std::array{kSecond}));
  const auto stop = client->wait_stop(Clock::now() + kPatience);
  ASSERT_TRUE(stop && *stop);
  EXPECT_TRUE((*stop)->is_trap()) << "the interrupt's stop belongs to the run before";
  EXPECT_EQ((*stop)->vcpu, kSecond);
}

TEST(ClientRace, AnInterruptThatQemuDropsLeavesNothingBehind) {
  Stub stub(on("vCont", "+" + framed("T05thread:01;")));
  auto client = stub.connect();
  ASSERT_TRUE(client);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client->resume(std::array{kFirst}));
    ASSERT_TRUE(client->interrupt());
    const auto stop = client->wait_stop(Clock::now() + kPatience);
    ASSERT_TRUE(stop && *stop);
    EXPECT_TRUE((*stop)->is_trap());
  }
}

TEST(ClientRunning, AHaltedVcpusStepEndsInAnInterrupt) {
  Stub stub([](const std::string& request) -> std::optional<std::string> {
    if (request[0] == kInterrupt) return framed("T02thread:02;");
    return std::nullopt;
  });
  auto client = stub.connect({.step_timeout = kImpatience});
  ASSERT_TRUE(client);
  stub.forget_requests();
  const auto stop = client->step(kSecond);
  ASSERT_TRUE(stop) << stop.error().message();
  EXPECT_TRUE(stop->is_interrupt());
  EXPECT_THAT(stub.requests(), ElementsAre("Hc2", "vCont;s:2", std::string(1, kInterrupt)));
}

TEST(ClientRunning, AStubThatCannotBeInterruptedHangs) {
  Stub stub;
  auto client = stub.connect({.reply_timeout = std::chrono::milliseconds(200), .step_timeout = kImpatience});
  ASSERT_TRUE(client);
  EXPECT_THAT(message_of(client->step(kFirst)), HasSubstr("QEMU hangs"));
  EXPECT_FALSE(client->read_registers(kFirst));
}

TEST(ClientRunning, WhatIsNoStopReplyEndsTheClient) {
  for (const std::string_view nonsense : {"E22", "", "OK", "T05thread:03;", "T05thread:00;"}) {
    Stub stub(on("vCont", "+" + framed(nonsense)));
    auto client = stub.connect();
    ASSERT_TRUE(client);
    ASSERT_TRUE(client->resume(std::array{kFirst}));
    const auto stop = client->wait_stop(Clock::now() + kPatience);
    EXPECT_THAT(message_of(stop), HasSubstr(fmt::format("\"{}\"", nonsense)));
    EXPECT_FALSE(client->read_stop());
  }
}

TEST(ClientRunning, QemusEndIsAStopAndThenAnError) {
  Stub stub(on("vCont", "+" + framed("W00")));
  auto client = stub.connect();
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->resume(std::array{kFirst}));
  const auto stop = client->wait_stop(Clock::now() + kPatience);
  ASSERT_TRUE(stop && *stop);
  EXPECT_TRUE((*stop)->is_gone());
  EXPECT_THAT(message_of(client->read_registers(kFirst)), HasSubstr("QEMU has ended"));
}

TEST(ClientRunning, ASocketThatClosesIsAnError) {
  Stub stub(on("vCont", "+" + std::string(kClose)));
  auto client = stub.connect();
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->resume(std::array{kFirst}));
  EXPECT_THAT(message_of(client->wait_stop(Clock::now() + kPatience)), HasSubstr("closed"));
}

TEST(Client, IsOfNoUseAfterDetaching) {
  Stub stub;
  auto client = stub.connect();
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->detach());
  EXPECT_EQ(stub.requests().back(), "D");
  EXPECT_THAT(message_of(client->read_registers(kFirst)), HasSubstr("detached"));
}

}  // namespace
}  // namespace panicroom::rsp
