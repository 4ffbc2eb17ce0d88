// For tests and fuzz targets: a machine whose registers and memory are a few variables, and which stands still.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/machine.h"

namespace panicroom::control {

class FakeMachine final : public hypervisor::Machine {
 public:
  explicit FakeMachine(std::uint32_t vcpus = 2) : cpus(vcpus), held_(vcpus) {
    for (auto& cpu : cpus) cpu.cs = 0x10, cpu.rsp = kMemory + 0x800;
  }

  // One page, guest-virtual and, from 0, physical.
  static constexpr std::uint64_t kMemory = 0xffff888000000000;

  std::vector<hypervisor::Registers> cpus;
  std::vector<std::byte> memory = std::vector<std::byte>(4096);
  std::map<hypervisor::BreakpointId, std::pair<Gva, std::set<VcpuId>>> breakpoints;
  std::set<std::string> snapshots;
  std::vector<VcpuId> nmis;
  std::uint64_t steps = 0;
  std::optional<std::uint64_t> hit_after_steps;  // A vCPU that has made so many stands at a breakpoint.
  int cancels = 0;

  [[nodiscard]] std::string engine() const override { return "fake"; }
  [[nodiscard]] bool can(hypervisor::Capability capability) const override {
    return capability != hypervisor::Capability::kMce;
  }
  [[nodiscard]] std::uint32_t vcpus() const override { return static_cast<std::uint32_t>(cpus.size()); }
  [[nodiscard]] std::chrono::nanoseconds starved() const override { return {}; }
  Result<> resume() override { return {}; }
  Result<> pause() override { return {}; }
  hypervisor::Event next_event(hypervisor::Clock::time_point) override { return hypervisor::DeadlinePassed{}; }
  void cancel() override { ++cancels; }
  Result<> destroy() override { return {}; }
  Result<> snapshot(const std::string& name) override {
    snapshots.insert(name);
    return {};
  }
  Result<> restore(const std::string&) override { return {}; }
  void set_held(VcpuId vcpu, bool held) override { held_.at(index(vcpu)) = held; }
  [[nodiscard]] bool held(VcpuId vcpu) const override { return held_.at(index(vcpu)); }
  Result<hypervisor::BreakpointId> add_breakpoint(Gva at, std::set<VcpuId> vcpus) override {
    const hypervisor::BreakpointId id{++last_};
    breakpoints[id] = {at, std::move(vcpus)};
    return id;
  }
  Result<> remove_breakpoint(hypervisor::BreakpointId id) override {
    if (breakpoints.erase(id) == 0) return host_error("there is no such breakpoint");
    return {};
  }
  Result<hypervisor::Registers> registers(VcpuId vcpu) override { return cpus.at(index(vcpu)); }
  Result<> set_registers(VcpuId vcpu, const hypervisor::Registers& registers) override {
    cpus.at(index(vcpu)) = registers;
    return {};
  }
  Result<bool> halted(VcpuId) override { return false; }
  Result<> read_memory(VcpuId, Gva at, std::span<std::byte> into) override {
    return read_physical(Gpa{at.value - kMemory}, into);
  }
  Result<> write_memory(VcpuId, Gva at, std::span<const std::byte> bytes) override {
    return write_physical(Gpa{at.value - kMemory}, bytes);
  }
  Result<> read_physical(Gpa at, std::span<std::byte> into) override {
    if (!has(at, into.size())) return invalid_input("not mapped");
    std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(at.value), into.size(), into.begin());
    return {};
  }
  Result<> write_physical(Gpa at, std::span<const std::byte> bytes) override {
    if (!has(at, bytes.size())) return invalid_input("not mapped");
    std::copy(bytes.begin(), bytes.end(), memory.begin() + static_cast<std::ptrdiff_t>(at.value));
    return {};
  }
  Result<> step(VcpuId) override {
    ++steps;
    return {};
  }
  Result<bool> has_hit_to_report(VcpuId) override { return steps == hit_after_steps; }
  Result<> inject_nmi(VcpuId vcpu) override {
    nmis.push_back(vcpu);
    return {};
  }
  Result<> inject_mce(VcpuId, const hypervisor::MachineCheck&) override { return host_error("not here"); }
  Result<> watch_ipis(std::span<const hypervisor::IcrStore>, std::vector<hypervisor::IpiRule>) override { return {}; }
  Result<> unwatch_ipis() override { return {}; }
  Result<> set_ipi_rule_active(std::size_t, bool) override { return {}; }
  hypervisor::UnwatchedIpis take_unwatched_ipis() override { return {}; }

 private:
  [[nodiscard]] bool has(Gpa at, std::size_t length) const {
    return at.value <= memory.size() && memory.size() - at.value >= length;
  }

  std::vector<bool> held_;
  std::uint32_t last_ = 0;
};

}  // namespace panicroom::control
