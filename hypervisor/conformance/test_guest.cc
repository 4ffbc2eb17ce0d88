#include "hypervisor/conformance/test_guest.h"

#include <fcntl.h>
#include <gelf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/file.h"

namespace panicroom::hypervisor {
namespace {

namespace fs = std::filesystem;

// Far more than anything takes; a test that reaches it has failed.
constexpr std::chrono::minutes kForever{5};

std::map<std::string, std::uint64_t, std::less<>> read_symbols(const char* path) {
  std::map<std::string, std::uint64_t, std::less<>> symbols;
  elf_version(EV_CURRENT);
  const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  Elf* elf = elf_begin(fd.get(), ELF_C_READ, nullptr);
  for (Elf_Scn* section = nullptr; (section = elf_nextscn(elf, section)) != nullptr;) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr || header.sh_type != SHT_SYMTAB) continue;
    Elf_Data* data = elf_getdata(section, nullptr);
    for (int i = 0; i < static_cast<int>(header.sh_size / header.sh_entsize); ++i) {
      GElf_Sym symbol;
      gelf_getsym(data, i, &symbol);
      symbols.emplace(elf_strptr(elf, header.sh_link, symbol.st_name), symbol.st_value);
    }
  }
  elf_end(elf);
  return symbols;
}

}  // namespace

std::string describe(const Event& event) {
  if (const auto* hit = std::get_if<BreakpointHit>(&event)) {
    return fmt::format("breakpoint {} hit by vCPU {} at {}", static_cast<std::uint32_t>(hit->id), hit->vcpu, hit->at);
  }
  if (const auto* lost = std::get_if<MachineLost>(&event)) return "lost: " + lost->reason.message();
  constexpr std::array kNames{"output", "hit", "IPI", "reset", "shutdown", "paused", "deadline", "cancelled", "lost"};
  return kNames.at(event.index());
}

std::unique_ptr<TestGuest> TestGuest::create(const Engine& engine, std::uint32_t vcpus, const fs::path& image) {
  auto guest = std::make_unique<TestGuest>();
  guest->symbols_ = read_symbols(image.c_str());
  MachineConfig config;
  config.name = "test";
  config.vcpus = vcpus;
  config.memory_bytes = 64U << 20;
  config.kernel = image;
  config.directory = guest->directory_.path();
  auto machine = engine.create(config);
  if (!machine) {
    ADD_FAILURE() << machine.error().message();
    return nullptr;
  }
  guest->machine_ = *std::move(machine);
  return guest;
}

TestGuest::~TestGuest() {
  if (machine_) {
    const auto destroyed = machine_->destroy();
    EXPECT_TRUE(destroyed) << destroyed.error().message();
    EXPECT_TRUE(fs::is_empty(directory_.path()));
  }
}

std::unique_ptr<TestGuest> TestGuest::at_work(const Engine& engine, std::uint32_t vcpus) {
  auto guest = create(engine, vcpus);
  if (!guest) return nullptr;
  for (std::uint32_t vcpu = 0; vcpu < vcpus; ++vcpu) {
    if (!guest->run_to("work_middle", VcpuId{vcpu})) return nullptr;
  }
  return guest;
}

Gva TestGuest::at(std::string_view symbol) const {
  const auto found = symbols_.find(symbol);
  if (found == symbols_.end()) {
    ADD_FAILURE() << "the guest has no symbol " << symbol;
    return {};
  }
  return {found->second};
}

std::uint64_t TestGuest::number(std::string_view table, VcpuId vcpu) {
  std::uint64_t value = 0;
  const auto read = machine_->read_physical(Gpa{at(table).value + sizeof(value) * index(vcpu)},
                                            std::as_writable_bytes(std::span(&value, 1)));
  EXPECT_TRUE(read) << read.error().message();
  return value;
}

std::uint32_t TestGuest::word(std::string_view table, VcpuId vcpu) {
  std::uint32_t value = 0;
  const auto read = machine_->read_physical(Gpa{at(table).value + sizeof(value) * index(vcpu)},
                                            std::as_writable_bytes(std::span(&value, 1)));
  EXPECT_TRUE(read) << read.error().message();
  return value;
}

void TestGuest::set_word(std::string_view table, VcpuId vcpu, std::uint32_t value) {
  const auto written =
      machine_->write_memory(vcpu, at(table) + sizeof(value) * index(vcpu), std::as_bytes(std::span(&value, 1)));
  EXPECT_TRUE(written) << written.error().message();
}

void TestGuest::command(VcpuId vcpu, Command command) {
  set_word("commands", vcpu, static_cast<std::uint32_t>(command));
}

void TestGuest::send_ipi(VcpuId vcpu, std::uint32_t icr_high, std::uint32_t icr_low) {
  set_word("icr_high", vcpu, icr_high);
  set_word("icr_low", vcpu, icr_low);
  command(vcpu, Command::kSendIpi);
}

void TestGuest::write_apic(VcpuId vcpu, std::uint32_t offset, std::uint32_t value) {
  set_word("apic_register", vcpu, offset);
  set_word("apic_value", vcpu, value);
  obey(vcpu, Command::kWriteApic);
}

bool TestGuest::keep(const Event& event) {
  const auto* output = std::get_if<Output>(&event);
  if (output != nullptr) (output->stream == Stream::kConsole ? console : agent) += output->bytes;
  return output != nullptr;
}

std::string TestGuest::places() {
  std::string places;
  for (std::uint32_t i = 0; i < machine_->vcpus(); ++i) {
    const auto registers = machine_->registers(VcpuId{i});
    places += registers ? fmt::format(" {:#x}", registers->rip) : " ?";
  }
  return places;
}

Event TestGuest::next() {
  const auto deadline = Clock::now() + kForever;
  for (;;) {
    auto event = machine_->next_event(deadline);
    if (keep(event)) continue;
    if (std::holds_alternative<DeadlinePassed>(event)) ADD_FAILURE() << "nothing happened";
    return event;
  }
}

Event TestGuest::run() {
  const auto resumed = machine_->resume();
  if (!resumed) {
    ADD_FAILURE() << "resuming: " << resumed.error().message();
    return MachineLost{resumed.error()};
  }
  return next();
}

bool TestGuest::run_to(std::string_view symbol, VcpuId vcpu) {
  const auto id = machine_->add_breakpoint(at(symbol), {vcpu});
  EXPECT_TRUE(id) << id.error().message();
  if (!id) return false;
  const auto event = run();
  const auto* hit = std::get_if<BreakpointHit>(&event);
  const bool reached = hit != nullptr && hit->id == *id && hit->vcpu == vcpu;
  EXPECT_TRUE(reached) << "running to " << symbol << ": " << describe(event);
  const auto removed = machine_->remove_breakpoint(*id);
  EXPECT_TRUE(removed) << removed.error().message();
  return reached;
}

void TestGuest::pause() {
  const auto asked = machine_->pause();
  EXPECT_TRUE(asked) << asked.error().message();
  const auto event = next();
  EXPECT_TRUE(std::holds_alternative<Paused>(event)) << describe(event);
}

void TestGuest::run_until(const std::function<bool()>& done) {
  const auto deadline = Clock::now() + kForever;
  // Longer each time: on a busy host a machine that is stopped at once never comes to execute anything.
  auto slice = std::chrono::milliseconds(1);
  while (!done()) {
    ASSERT_LT(Clock::now(), deadline) << "it did not come about; the vCPUs are at" << places();
    const auto resumed = machine_->resume();
    ASSERT_TRUE(resumed) << resumed.error().message();
    const auto until = Clock::now() + slice;
    auto event = machine_->next_event(until);
    while (keep(event)) event = machine_->next_event(until);
    ASSERT_TRUE(std::holds_alternative<DeadlinePassed>(event)) << describe(event);
    pause();
    ASSERT_FALSE(::testing::Test::HasFailure());
    slice = std::min(2 * slice, std::chrono::milliseconds(500));
  }
}

void TestGuest::work(const std::vector<VcpuId>& vcpus, std::uint64_t passes) {
  std::map<VcpuId, std::uint64_t> goals;
  for (const auto vcpu : vcpus) goals[vcpu] = number("counters", vcpu) + passes;
  run_until([&] {
    return std::all_of(goals.begin(), goals.end(),
                       [&](const auto& goal) { return number("counters", goal.first) >= goal.second; });
  });
}

void TestGuest::obey(VcpuId vcpu, Command command) {
  this->command(vcpu, command);
  // In its third pass from now the vCPU has taken it up in the first and come back to the loop.
  work({vcpu}, 3);
}

}  // namespace panicroom::hypervisor
