// A machine under test whose agent lies: what the capture kernel's agent says of the dump is changed on its way to the
// host, as a dump that is not true would have it. Everything else is the machine's that it wraps.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "agent/protocol/frame.h"
#include "hypervisor/machine.h"

namespace panicroom::tests {

// Changes a message of the capture kernel's agent, or says that it is to be left out (false). `armed`: the registers of
// each vCPU at the last restore.
using Mutation = std::function<bool(agent::v1::Message& message, const std::vector<hypervisor::Registers>& armed)>;

class MutatingMachine : public hypervisor::Machine {
 public:
  // `mutation` outlives this.
  MutatingMachine(std::unique_ptr<hypervisor::Machine> machine, const Mutation& mutation)
      : machine_(std::move(machine)), mutation_(mutation) {}

  [[nodiscard]] std::string engine() const override { return machine_->engine(); }
  [[nodiscard]] bool can(hypervisor::Capability capability) const override { return machine_->can(capability); }
  [[nodiscard]] std::uint32_t vcpus() const override { return machine_->vcpus(); }
  [[nodiscard]] std::chrono::nanoseconds starved() const override { return machine_->starved(); }
  Result<> resume() override { return machine_->resume(); }
  Result<> pause() override { return machine_->pause(); }
  hypervisor::Event next_event(hypervisor::Clock::time_point deadline) override;
  void cancel() override { machine_->cancel(); }
  Result<> destroy() override { return machine_->destroy(); }
  Result<> snapshot(const std::string& name) override { return machine_->snapshot(name); }
  Result<> restore(const std::string& name) override;
  void set_held(VcpuId vcpu, bool held) override { machine_->set_held(vcpu, held); }
  [[nodiscard]] bool held(VcpuId vcpu) const override { return machine_->held(vcpu); }
  Result<hypervisor::BreakpointId> add_breakpoint(Gva at, std::set<VcpuId> vcpus) override {
    return machine_->add_breakpoint(at, std::move(vcpus));
  }
  Result<> remove_breakpoint(hypervisor::BreakpointId id) override { return machine_->remove_breakpoint(id); }
  Result<hypervisor::Registers> registers(VcpuId vcpu) override { return machine_->registers(vcpu); }
  Result<> set_registers(VcpuId vcpu, const hypervisor::Registers& registers) override {
    return machine_->set_registers(vcpu, registers);
  }
  Result<bool> halted(VcpuId vcpu) override { return machine_->halted(vcpu); }
  Result<> read_memory(VcpuId vcpu, Gva at, std::span<std::byte> into) override {
    return machine_->read_memory(vcpu, at, into);
  }
  Result<> write_memory(VcpuId vcpu, Gva at, std::span<const std::byte> bytes) override {
    return machine_->write_memory(vcpu, at, bytes);
  }
  Result<> read_physical(Gpa at, std::span<std::byte> into) override { return machine_->read_physical(at, into); }
  Result<> write_physical(Gpa at, std::span<const std::byte> bytes) override {
    return machine_->write_physical(at, bytes);
  }
  Result<> step(VcpuId vcpu) override { return machine_->step(vcpu); }
  Result<bool> has_hit_to_report(VcpuId vcpu) override { return machine_->has_hit_to_report(vcpu); }
  Result<> inject_nmi(VcpuId vcpu) override { return machine_->inject_nmi(vcpu); }
  Result<> inject_mce(VcpuId vcpu, const hypervisor::MachineCheck& error) override {
    return machine_->inject_mce(vcpu, error);
  }
  Result<> watch_ipis(std::span<const hypervisor::IcrStore> sites, std::vector<hypervisor::IpiRule> rules) override {
    return machine_->watch_ipis(sites, std::move(rules));
  }
  Result<> unwatch_ipis() override { return machine_->unwatch_ipis(); }
  Result<> set_ipi_rule_active(std::size_t rule, bool active) override {
    return machine_->set_ipi_rule_active(rule, active);
  }
  hypervisor::UnwatchedIpis take_unwatched_ipis() override { return machine_->take_unwatched_ipis(); }

 private:
  Result<std::string> changed(const std::string& bytes);
  Result<> take_lent(agent::v1::DeadLog& log);

  std::unique_ptr<hypervisor::Machine> machine_;
  const Mutation& mutation_;
  agent::FrameDecoder frames_;
  std::deque<hypervisor::Event> waiting_;  // Came while the machine was being stopped.
  bool capture_ = false;                   // The capture kernel's agent has begun.
  std::uint64_t sequence_ = 0;
  std::vector<hypervisor::Registers> armed_;
};

}  // namespace panicroom::tests
