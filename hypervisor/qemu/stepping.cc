// How a QemuMachine executes a single instruction, and what that is when it sends an interrupt.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "hypervisor/qemu/qemu_machine.h"

namespace panicroom::qemu {
namespace {

using hypervisor::Clock;
using hypervisor::Registers;

}  // namespace

hypervisor::MemoryReader QemuMachine::reader(VcpuId vcpu) {
  return [this, vcpu](Gva at, std::span<std::byte> into) {
    const auto bytes = stub_->read_memory(vcpu, at, into.size());
    if (!bytes || bytes->size() != into.size()) return false;
    std::copy(bytes->begin(), bytes->end(), into.begin());
    return true;
  };
}

Result<bool> QemuMachine::is_halted(VcpuId vcpu) {
  const auto text = TRY(domain_->hmp("info registers", index(vcpu), options_.patience));
  const auto at = text.find("HLT=");
  if (at == std::string::npos || at + 4 >= text.size()) {
    return host_error("QEMU's `info registers` does not tell whether vCPU {} is halted", vcpu);
  }
  return text[at + 4] == '1';
}

// One step of the stub's, which executes an instruction, or one iteration of a repeated one, or enters a handler.
Result<QemuMachine::StepEnd> QemuMachine::step_once(VcpuId vcpu, const Registers& before) {
  const auto deadline = Clock::now() + options_.patience;
  const bool was_at_reset = at_reset_vector(TRY(stub_->read_registers(VcpuId{0})));
  // A jump to itself is all that leaves every register as it was. Its step looks like one in which QEMU executed
  // nothing, which happens in a few of a hundred, at random; so many of them in a row do not.
  constexpr int kMostEmptySteps = 32;
  int unchanged = 0;
  for (;;) {
    const auto stop = TRY(stub_->step(vcpu));
    take_output();
    if (stop.is_gone()) return host_error("its gdbstub says that it ended with status {}", stop.code);
    if (stop.code == rsp::kSignalQuit) return StepEnd::kShutdown;
    const auto boot = TRY(stub_->read_registers(VcpuId{0}));
    // Whatever QEMU says that it stopped for: on a busy host the step may have run out of time as well.
    if (at_reset_vector(boot) && !was_at_reset) return StepEnd::kReset;

    const auto after = index(vcpu) == 0 ? boot : TRY(stub_->read_registers(vcpu));
    // QEMU reports steps that executed nothing. One is ended by a note that some other vCPU came to a breakpoint, of
    // which there is one for the whole machine. Another was kicked before its instruction: any return from a
    // translation block counts as the step's end (cpu_tb_exec() of QEMU 7.2).
    if (stop.is_trap() && after == before && ++unchanged < kMostEmptySteps) continue;
    if (!stop.is_trap() && after.rip == before.rip) {
      // It timed out. Either the host is busy, or the vCPU waits.
      if (TRY(is_halted(vcpu))) return invalid_input("vCPU {} waits in HLT: there is nothing to step", vcpu);
      if (Clock::now() < deadline) continue;
      return host_error("vCPU {} did not execute an instruction within {} ms", vcpu, options_.patience.count());
    }
    auto& interrupted = vcpus_[index(vcpu)].interrupted;
    interrupted = hypervisor::interrupted_by_step(before, after, reader(vcpu));
    return interrupted ? StepEnd::kDiverted : StepEnd::kExecuted;
  }
}

// The same, but a repeated string operation to its end, or as far as is reasonable in one go.
Result<QemuMachine::StepEnd> QemuMachine::step_whole_instruction(VcpuId vcpu, const Registers& before) {
  constexpr int kMostIterations = 512;
  auto now = before;
  bool repeats = false;
  for (int i = 0; i < kMostIterations; ++i) {
    const auto end = TRY(step_once(vcpu, now));
    if (end != StepEnd::kExecuted) return end;
    now = TRY(stub_->read_registers(vcpu));
    if (now.rip != before.rip) return end;
    if (i == 0) {
      std::array<std::byte, 8> instruction{};
      repeats = now.rsp == before.rsp && reader(vcpu)(Gva{before.rip}, instruction) &&
                hypervisor::is_repeated_string_operation(instruction);
    }
    if (!repeats) return end;  // A jump to itself.
  }
  vcpus_[index(vcpu)].interrupted = hypervisor::InterruptedPass{now.rip, now.rsp, now.rcx, std::nullopt};
  return StepEnd::kDiverted;
}

Result<> QemuMachine::settle(VcpuId vcpu, StepEnd end) {
  vcpus_[index(vcpu)].standing_at.reset();
  switch (end) {
    case StepEnd::kExecuted:
    case StepEnd::kDiverted:
      return {};
    case StepEnd::kReset:
      on_reset();
      events_.emplace_back(hypervisor::GuestReset{});
      return {};
    case StepEnd::kShutdown:
      return on_shutdown();
  }
  return {};
}

// Lets a vCPU that stands at a breakpoint which has been dealt with execute the instruction there, alone.
Result<> QemuMachine::pass_over(VcpuId vcpu) {
  auto& state = vcpus_[index(vcpu)];
  if (!state.standing_at) return {};
  const auto before = TRY(stub_->read_registers(vcpu));
  const Gva pc{before.rip};
  if (pc != *state.standing_at) {  // It was moved.
    state.standing_at.reset();
    return {};
  }
  if (const auto site = sites_.find(pc); site != sites_.end()) return store_icr(vcpu, site->second, before);
  const auto end = TRY(step_whole_instruction(vcpu, before));
  return settle(vcpu, end);
}

Result<> QemuMachine::step(VcpuId vcpu) {
  TRY(check_stopped("stepping"));
  TRY(check_vcpu(vcpu));
  // What the vCPU still had to report is past.
  std::erase_if(events_, [&](const hypervisor::Event& event) { return is_hit_of(event, vcpu); });
  const auto before = TRY(or_lose(stub_->read_registers(vcpu)));
  const auto site = sites_.find(Gva{before.rip});
  auto done = [&]() -> Result<> {
    if (site != sites_.end()) return store_icr(vcpu, site->second, before);
    return settle(vcpu, TRY(step_once(vcpu, before)));
  }();
  if (!done && done.error().kind() != ErrorKind::kInvalidInput) return lose(done.error());
  return done;
}

Result<bool> QemuMachine::has_hit_to_report(VcpuId vcpu) {
  TRY(check_stopped("looking for a breakpoint"));
  TRY(check_vcpu(vcpu));
  const auto is_queued = [&] {
    return std::any_of(events_.begin(), events_.end(),
                       [&](const hypervisor::Event& event) { return is_hit_of(event, vcpu); });
  };
  if (is_queued()) return true;
  auto examined = [&]() -> Result<> {
    const auto registers = TRY(stub_->read_registers(vcpu));
    const Gva pc{registers.rip};
    if (vcpus_[index(vcpu)].standing_at == pc || !wanted_.contains(pc)) return {};
    if (TRY(waits_behind_hlt(vcpu, registers))) return {};
    return examine(vcpu, registers);
  }();
  if (!examined) return lose(examined.error());
  return is_queued();
}

Result<> QemuMachine::deliver(const Msi& message) {
  std::array<std::byte, sizeof(message.data)> bytes;
  std::memcpy(bytes.data(), &message.data, sizeof(message.data));
  return stub_->write_physical(message.address, bytes);
}

Result<> QemuMachine::deliver_due() {
  const auto now = Clock::now();
  for (auto& due : due_) {
    if (now >= due.at) TRY(deliver(due.message));
  }
  std::erase_if(due_, [&](const DueInterrupt& due) { return now >= due.at; });
  return {};
}

Result<> QemuMachine::inject_nmi(VcpuId vcpu) {
  TRY(check_stopped("injecting an NMI"));
  TRY(check_vcpu(vcpu));
  return or_lose(deliver(msi_for(vcpu, hypervisor::DeliveryMode::kNmi, 0)));
}

// The monitor's command (QEMU's manual, "mce"): CPU, bank, MCi_STATUS, MCG_STATUS, MCi_ADDR, MCi_MISC. It is silent
// when it has done what it was asked to.
Result<> QemuMachine::inject_mce(VcpuId vcpu, const hypervisor::MachineCheck& error) {
  TRY(check_stopped("injecting a machine check"));
  TRY(check_vcpu(vcpu));
  const auto said = domain_->hmp(
      fmt::format("mce {} {} {:#x} {:#x} 0 0", index(vcpu), error.bank, error.status, global_status(error)),
      index(vcpu));
  if (!said) return lose(said.error());
  if (said->empty() || said->find("raising triple fault") != std::string::npos) return {};
  return invalid_input("QEMU injects no machine check: {}", *said);
}

// The destination half of the ICR is read from the source's local APIC; who answers to a logical address, from all.
Result<std::vector<ApicState>> QemuMachine::apics_for(const IcrCommand& command, VcpuId source) {
  std::vector<ApicState> apics;
  if (command.shorthand != IcrCommand::Shorthand::kNone) return apics;
  apics.resize(vcpus_.size());
  for (std::uint32_t i = 0; i < vcpus_.size(); ++i) {
    if (!command.logical && VcpuId{i} != source) continue;
    const auto text = TRY(domain_->hmp(fmt::format("info lapic {}", i), 0, options_.patience));
    apics[i] = TRY(parse_info_lapic(text));
  }
  return apics;
}

// A vCPU stands at a store to its ICR: applies the policy, gets the store out of the way, and reports.
Result<> QemuMachine::store_icr(VcpuId vcpu, const hypervisor::IcrStore& site, const Registers& registers) {
  const auto command = decode_icr(static_cast<std::uint32_t>(get(registers, site.value)));
  if (!command) return settle(vcpu, TRY(step_whole_instruction(vcpu, registers)));
  const auto apics = TRY(apics_for(*command, vcpu));
  auto routing = route(*command, vcpu, targets_of(*command, vcpu, apics, vcpus()), policy_);
  if (routing.as_sent) {
    const auto end = TRY(step_whole_instruction(vcpu, registers));
    TRY(settle(vcpu, end));
    // A fault came between, and the store is still to come.
    if (end != StepEnd::kExecuted) return {};
  } else {
    auto after = registers;
    after.rip += site.length;
    TRY(stub_->write_registers(vcpu, after));
    vcpus_[index(vcpu)].standing_at.reset();
    vcpus_[index(vcpu)].interrupted.reset();
    for (std::size_t i = 0; i < routing.ipi.targets.size(); ++i) {
      const auto& delivered = routing.delivered[i];
      if (!delivered.mode) continue;
      const auto message = msi_for(routing.ipi.targets[i], *delivered.mode, delivered.vector);
      if (delivered.delay.count() > 0) {
        due_.push_back({Clock::now() + delivered.delay, message});
      } else {
        TRY(deliver(message));
      }
    }
  }
  policy_.count(routing.decided_by);
  events_.emplace_back(hypervisor::IpiSent{std::move(routing.ipi)});
  return {};
}

Result<> QemuMachine::watch_ipis(std::span<const hypervisor::IcrStore> sites, std::vector<hypervisor::IpiRule> rules) {
  TRY(unwatch_ipis());
  for (const auto& site : sites) {
    if (sites_.contains(site.at)) continue;
    TRY(want_breakpoint(site.at));
    sites_.emplace(site.at, site);
  }
  policy_ = hypervisor::IpiPolicy(rules);
  return {};
}

Result<> QemuMachine::unwatch_ipis() {
  TRY(check_stopped("changing what becomes of IPIs"));
  for (const auto& [at, site] : sites_) TRY(unwant_breakpoint(at));
  sites_.clear();
  policy_ = {};
  return {};
}

Result<> QemuMachine::set_ipi_rule_active(std::size_t rule, bool active) {
  TRY(check_stopped("changing what becomes of IPIs"));
  policy_.set_active(rule, active);
  return {};
}

}  // namespace panicroom::qemu
