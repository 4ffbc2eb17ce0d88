// Drives the APICs as a hostile guest could, by registers, MSRs, pins and time, and checks what must hold besides not
// crashing: priorities are in order, at most one NMI is pending, nothing below vector 16 is requested, timers that are
// due have fired, reports are well-formed, and a snapshot put back is the same.
#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/testing/require.h"
#include "hypervisor/kvm/apic/interrupt_fabric.h"

namespace panicroom::kvm {
namespace {

constexpr std::uint32_t kVcpus = 3;
constexpr std::uint64_t kTscKhz = 2'500'000;  // Five ticks in two nanoseconds.

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool is_empty() const { return bytes_.empty(); }
  template <typename T>
  T take() {
    T value{};
    const std::size_t size = std::min(sizeof(T), bytes_.size());
    if (size != 0) std::memcpy(&value, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
    return value;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

void check_apic(const LocalApic& apic) {
  const auto in_service = apic.isr().highest();
  require((apic.ppr() >> 4) >= (in_service.value_or(0) >> 4), "PPR covers what is in service");
  require((apic.ppr() >> 4) >= apic.cr8(), "PPR covers TPR");
  require((apic.irr().word(0) & 0xffff) == 0 && (apic.isr().word(0) & 0xffff) == 0, "no illegal vector is requested");
  for (std::size_t i = 0; i < VectorSet::kWords; ++i) {
    const std::uint32_t word = apic.isr().word(i);
    require(std::popcount(word & 0xffff) <= 1 && std::popcount(word >> 16) <= 1, "one in service of each class");
  }
  if (const auto next = apic.deliverable()) {
    require(apic.irr().contains(*next) && (*next >> 4) > (apic.ppr() >> 4), "what is deliverable is above PPR");
  }
  require(!apic.bootstrap() || apic.state() == ProcessorState::kRunning, "the bootstrap processor never waits");
  require(!apic.startup_pending() || apic.state() == ProcessorState::kWaitForSipi, "a SIPI is for one that waits");
  if (apic.mode() == LocalApic::Mode::kDisabled) require(!apic.deliverable(), "what is disabled delivers nothing");
}

void check_ipi(const hypervisor::Ipi& ipi, bool watching) {
  require(watching, "only what is watched is reported");
  require(ipi.targets.size() == ipi.delivered_as.size(), "each target has its delivery");
  require(std::is_sorted(ipi.targets.begin(), ipi.targets.end()), "targets ascend");
  for (const VcpuId target : ipi.targets) require(index(target) < kVcpus, "targets exist");
}

class Driver {
 public:
  explicit Driver(Input input) : input_(input) {}

  void run() {
    for (int steps = 0; !input_.is_empty() && steps < 4096; ++steps) {
      step();
      for (std::uint32_t i = 0; i < kVcpus; ++i) check_apic(fabric_.apic(VcpuId{i}));
      for (const VcpuId vcpu : fabric_.take_woken()) require(index(vcpu) < kVcpus, "who is woken exists");
    }
    require(fabric_.record().size() <= IpiRecord::kCapacity, "the record is bounded");
  }

 private:
  [[nodiscard]] Moment now() const {
    return {.guest = {.clock = clock_, .tsc = static_cast<std::uint64_t>(clock_.count()) * 5 / 2},
            .host = hypervisor::Clock::time_point(clock_)};
  }
  VcpuId take_vcpu() { return VcpuId{input_.take<std::uint8_t>() % kVcpus}; }

  void check_written(const InterruptFabric::Written& written) {
    require(!written.general_protection || !written.sent, "what is refused sends nothing");
    if (written.sent) check_ipi(*written.sent, fabric_.watching());
  }

  void step() {
    switch (input_.take<std::uint8_t>() % 16) {
      case 0:
      case 1:
      case 2:
        // Mostly where registers are.
        return access({apic::kDefaultBase + (std::uint64_t{input_.take<std::uint8_t>()} << 4)});
      case 3:
        return access({apic::kDefaultBase + input_.take<std::uint16_t>() % 0x1100});
      case 4:
        return access({io_apic::kBase + (input_.take<std::uint8_t>() & 0x50)});
      case 5:
      case 6:
        return access_msr();
      case 7:
        return fabric_.set_pin(input_.take<std::uint8_t>() % 26, (input_.take<std::uint8_t>() & 1) != 0);
      case 8:
      case 9:
        return pass_time();
      case 10:
      case 11:
        return take_interrupt(fabric_.apic(take_vcpu()));
      case 12:
        return take_latches(fabric_.apic(take_vcpu()));
      case 13:
        return change_policy();
      case 14:
        return save_and_restore();
      default:
        return other();
    }
  }

  void access(Gpa at) {
    const VcpuId vcpu = take_vcpu();
    if ((input_.take<std::uint8_t>() & 1) == 0) {
      fabric_.read(vcpu, at, now().guest);
    } else {
      check_written(fabric_.write(vcpu, at, input_.take<std::uint32_t>(), now()));
    }
  }

  void access_msr() {
    const VcpuId vcpu = take_vcpu();
    const auto selector = input_.take<std::uint8_t>();
    const std::uint32_t msr = selector == 0xff   ? apic::kMsrApicBase
                              : selector == 0xfe ? apic::kMsrTscDeadline
                                                 : apic::kX2apicMsrs + selector % 0x44U;
    if ((input_.take<std::uint8_t>() & 1) == 0) {
      fabric_.read_msr(vcpu, msr, now().guest);
      return;
    }
    const auto mode = fabric_.apic(vcpu).mode();
    // Random addresses would hide the page.
    const std::uint64_t value = msr == apic::kMsrApicBase ? apic::kDefaultBase | (input_.take<std::uint16_t>() & 0xf00U)
                                                          : input_.take<std::uint64_t>();
    const auto written = fabric_.write_msr(vcpu, msr, value, now());
    check_written(written);
    if (written.general_protection) require(fabric_.apic(vcpu).mode() == mode, "what is refused changes no mode");
  }

  void pass_time() {
    const auto shift = input_.take<std::uint8_t>() % 40;
    clock_ += std::chrono::nanoseconds(std::int64_t{input_.take<std::uint8_t>()} << shift);
    if (clock_ > std::chrono::hours(24 * 365 * 50)) clock_ = std::chrono::nanoseconds(0);
    for (std::uint32_t i = 0; i < kVcpus; ++i) {
      fabric_.advance(VcpuId{i}, now().guest);
      const auto next = fabric_.apic(VcpuId{i}).next_timer(now().guest);
      require(!next || *next > clock_, "what is due has fired");
    }
    fabric_.deliver_due(now().host);
    const auto due = fabric_.next_due();
    require(!due || *due > now().host, "what is due has been delivered");
  }

  static void take_interrupt(LocalApic& apic) {
    const LocalApic before = apic;
    const auto next = apic.deliverable();
    const std::uint8_t vector = apic.acknowledge();
    if (!next) {
      require(apic == before, "a spurious interrupt changes nothing");
      return;
    }
    require(vector == *next && apic.isr().highest() == vector && !apic.irr().contains(vector), "it is in service");
    LocalApic withdrawn = apic;
    withdrawn.withdraw(vector);
    require(withdrawn == before, "what is withdrawn is as before");
  }

  static void take_latches(LocalApic& apic) {
    if (apic.take_nmi()) require(!apic.take_nmi(), "one NMI is pending at most");
    if (apic.take_init()) require(!apic.take_init() && !apic.deliverable(), "an INIT is taken once, and resets");
    if (apic.take_startup()) require(apic.state() == ProcessorState::kRunning, "a SIPI starts");
  }

  void change_policy() {
    std::vector<hypervisor::IpiRule> rules(input_.take<std::uint8_t>() % 4);
    for (auto& rule : rules) {
      const auto bits = input_.take<std::uint8_t>();
      if ((bits & 1) != 0) rule.target = take_vcpu();
      if ((bits & 2) != 0) rule.count = input_.take<std::uint8_t>();
      if ((bits & 4) != 0) rule.vector = input_.take<std::uint8_t>();
      const hypervisor::Delivery deliveries[] = {hypervisor::DeliverAsNmi{}, hypervisor::DeliverAsIrq{},
                                                 hypervisor::Drop{}, hypervisor::Delay{std::chrono::milliseconds(1)}};
      rule.delivery = deliveries[bits >> 6];
    }
    if (rules.empty()) {
      fabric_.unwatch();
    } else {
      fabric_.watch(rules);
      fabric_.set_rule_active(input_.take<std::uint8_t>() % 4, false);
    }
  }

  void save_and_restore() {
    const auto saved = fabric_.state(now().host);
    const auto due = fabric_.next_due();
    fabric_.reset();
    fabric_.set_state(saved, now().host);
    require(fabric_.io_apic() == saved.io_apic && fabric_.next_due() == due, "what is put back is the same");
    for (std::uint32_t i = 0; i < kVcpus; ++i) {
      require(fabric_.apic(VcpuId{i}) == saved.apics[i], "what is put back is the same");
    }
  }

  void other() {
    LocalApic& apic = fabric_.apic(take_vcpu());
    switch (input_.take<std::uint8_t>() % 4) {
      case 0:
        apic.set_cr8(input_.take<std::uint8_t>());
        break;
      case 1:
        apic.trigger(static_cast<Lvt>(input_.take<std::uint8_t>() % kLvtCount));
        break;
      case 2:
        apic.init_reset();
        break;
      default:
        if (input_.take<std::uint8_t>() == 0) fabric_.reset();
        break;
    }
  }

  Input input_;
  InterruptFabric fabric_{kVcpus, kTscKhz};
  std::chrono::nanoseconds clock_{0};
};

}  // namespace
}  // namespace panicroom::kvm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  panicroom::kvm::Driver(panicroom::kvm::Input(std::span(data, size))).run();
  return 0;
}
