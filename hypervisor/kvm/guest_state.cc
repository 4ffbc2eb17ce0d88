// Looking at and changing the guest of a KvmMachine: registers, memory, breakpoints, snapshots.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "hypervisor/kvm/kvm_machine.h"
#include "hypervisor/kvm/mce_registers.h"

namespace panicroom::kvm {
namespace {

constexpr std::byte kInt3{0xcc};

}  // namespace

Error KvmMachine::not_mapped(std::size_t length, Gva at, VcpuId vcpu) {
  return invalid_input("{} bytes at {} are not all mapped for vCPU {}", length, at, vcpu);
}

// Calls `piece` for each part of the range that lies in one page, with where it is in RAM and where in the range.
template <typename Piece>
Result<> KvmMachine::for_each_piece(const Runner& runner, Gva at, std::size_t length, Piece piece) const {
  for (std::size_t done = 0; done < length;) {
    const Gva here{at.value + done};
    const auto size = std::min<std::size_t>(length - done, kPageBytes - here.value % kPageBytes);
    const auto physical = TRY(runner.vcpu.translate(here));
    if (!physical) return not_mapped(length, at, runner.id);
    TRY(piece(*physical, done, size));
    done += size;
  }
  return {};
}

Result<> KvmMachine::write_virtual(const Runner& runner, Gva at, std::span<const std::byte> bytes) {
  return for_each_piece(runner, at, bytes.size(), [&](Gpa physical, std::size_t offset, std::size_t size) {
    return memory_->write(physical, bytes.subspan(offset, size));
  });
}

bool KvmMachine::read_virtual(const Runner& runner, Gva at, std::span<std::byte> into) const {
  const auto read = for_each_piece(runner, at, into.size(), [&](Gpa physical, std::size_t offset, std::size_t size) {
    return memory_->read(physical, into.subspan(offset, size));
  });
  return read.has_value();
}

hypervisor::MemoryReader KvmMachine::reader(const Runner& runner) const {
  return [this, &runner](Gva at, std::span<std::byte> into) { return read_virtual(runner, at, into); };
}

Result<hypervisor::Registers> KvmMachine::registers(VcpuId vcpu) {
  const Lock lock(mutex_);
  TRY(check_stopped("reading registers"));
  TRY(check_vcpu(vcpu));
  auto read = runner(vcpu).vcpu.registers();
  if (!read) return lose(read.error());
  return read;
}

Result<> KvmMachine::set_registers(VcpuId vcpu, const hypervisor::Registers& registers) {
  const Lock lock(mutex_);
  TRY(check_stopped("writing registers"));
  TRY(check_vcpu(vcpu));
  auto& target = runner(vcpu);
  const auto before = TRY(target.vcpu.registers());
  TRY(target.vcpu.set_registers(registers));
  fabric_->apic(vcpu).set_cr8(registers.cr8);
  if (before.rip == registers.rip) return {};
  target.standing_at.reset();
  target.interrupted.reset();
  // It is not at the breakpoints that it had still to report.
  std::erase_if(events_, [&](const hypervisor::Event& event) { return is_hit_of(event, vcpu); });
  return {};
}

Result<bool> KvmMachine::halted(VcpuId vcpu) {
  const Lock lock(mutex_);
  TRY(check_stopped("asking whether a vCPU is halted"));
  TRY(check_vcpu(vcpu));
  return runner(vcpu).run.halted;
}

Result<> KvmMachine::read_memory(VcpuId vcpu, Gva at, std::span<std::byte> into) {
  const Lock lock(mutex_);
  TRY(check_stopped("reading memory"));
  TRY(check_vcpu(vcpu));
  if (!read_virtual(runner(vcpu), at, into)) return not_mapped(into.size(), at, vcpu);
  return {};
}

Result<> KvmMachine::write_memory(VcpuId vcpu, Gva at, std::span<const std::byte> bytes) {
  const Lock lock(mutex_);
  TRY(check_stopped("writing memory"));
  TRY(check_vcpu(vcpu));
  // Nothing may be written if not all can be.
  std::vector<std::byte> present(bytes.size());
  if (!read_virtual(runner(vcpu), at, present)) return not_mapped(bytes.size(), at, vcpu);
  return write_virtual(runner(vcpu), at, bytes);
}

Result<> KvmMachine::read_physical(Gpa at, std::span<std::byte> into) {
  const Lock lock(mutex_);
  TRY(check_stopped("reading memory"));
  return memory_->read(at, into);
}

Result<> KvmMachine::write_physical(Gpa at, std::span<const std::byte> bytes) {
  const Lock lock(mutex_);
  TRY(check_stopped("writing memory"));
  return memory_->write(at, bytes);
}

// Finds each breakpoint its place. The vCPUs are told when they run again.
void KvmMachine::place() {
  std::vector<WantedBreakpoint> wanted;
  for (const auto& [id, breakpoint] : breakpoints_) wanted.push_back({breakpoint.at, breakpoint.vcpus});
  const std::size_t slots = kHardwareBreakpoints - (quirks_.syscall_keeps_user_segments ? 1 : 0);
  auto places = place_breakpoints(wanted, vcpus(), slots);
  for (std::uint32_t i = 0; i < vcpus(); ++i) runners_[i]->hardware = std::move(places.hardware[i]);
  software_ = std::move(places.software);
}

Result<hypervisor::BreakpointId> KvmMachine::add_breakpoint(Gva at, std::set<VcpuId> vcpus) {
  const Lock lock(mutex_);
  TRY(check_stopped("setting a breakpoint"));
  for (const auto vcpu : vcpus) TRY(check_vcpu(vcpu));
  const hypervisor::BreakpointId id{next_breakpoint_++};
  breakpoints_.emplace(id, Breakpoint{at, std::move(vcpus)});
  place();
  return id;
}

Result<> KvmMachine::remove_breakpoint(hypervisor::BreakpointId id) {
  const Lock lock(mutex_);
  TRY(check_stopped("removing a breakpoint"));
  if (breakpoints_.erase(id) == 0) return invalid_input("there is no breakpoint {}", static_cast<std::uint32_t>(id));
  std::erase_if(events_, [&](const hypervisor::Event& event) {
    const auto* hit = std::get_if<hypervisor::BreakpointHit>(&event);
    return hit != nullptr && hit->id == id;
  });
  place();
  return {};
}

// By the page tables of the first vCPU that maps the code. Where none does, nobody can come by.
Result<> KvmMachine::insert_patches() {
  for (const auto at : software_) {
    for (const auto& runner : runners_) {
      const auto where = TRY(runner->vcpu.translate(at));
      std::array<std::byte, 1> original{};
      if (!where || !memory_->read(*where, original)) continue;
      if (original[0] == kInt3) break;  // The guest's own, which stops as well.
      TRY(memory_->write(*where, std::array{kInt3}));
      patches_[at] = {*where, original[0]};
      break;
    }
  }
  return {};
}

void KvmMachine::remove_patches() {
  for (const auto& [at, patch] : patches_) {
    // What the guest has written over it since is the guest's.
    std::array<std::byte, 1> present{};
    if (!memory_->read(patch.where, present) || present[0] != kInt3) continue;
    static_cast<void>(memory_->write(patch.where, std::array{patch.original}));  // It was written to before.
  }
  patches_.clear();
}

Result<> KvmMachine::snapshot(const std::string& snapshot_name) {
  const Lock lock(mutex_);
  TRY(check_stopped("taking a snapshot"));
  if (snapshot_name.empty()) return invalid_input("a snapshot needs a name");
  Snapshot snapshot;
  for (const auto& runner : runners_) {
    snapshot.vcpus.push_back(TRY(runner->vcpu.state()));
    snapshot.runs.push_back(runner->run);
  }
  snapshot.fabric = fabric_->state(hypervisor::Clock::now());
  snapshot.devices = devices_;
  snapshot.irq_lines = irq_lines_;
  snapshot.clock = clock_.state();
  snapshot.was_reset = was_reset_;
  snapshot.memory = TRY(memory_->freeze());
  snapshots_.insert_or_assign(snapshot_name, std::move(snapshot));
  return {};
}

Result<> KvmMachine::restore(const std::string& snapshot_name) {
  const Lock lock(mutex_);
  TRY(check_stopped("restoring a snapshot"));
  const auto found = snapshots_.find(snapshot_name);
  if (found == snapshots_.end()) return invalid_input("there is no snapshot \"{}\"", snapshot_name);
  const auto& snapshot = found->second;
  auto put_back = [&]() -> Result<> {
    TRY(memory_->restore(snapshot.memory));
    for (std::size_t i = 0; i < runners_.size(); ++i) {
      TRY(runners_[i]->vcpu.set_state(snapshot.vcpus[i]));
      runners_[i]->run = snapshot.runs[i];
      // The address space is another one, and KVM has been told other debug registers.
      runners_[i]->page_fault_gate.reset();
      runners_[i]->armed.reset();
    }
    return clock_.set_state(snapshot.clock);
  }();
  if (!put_back) return lose(std::move(put_back).error().with_context("restoring the snapshot " + snapshot_name));
  fabric_->set_state(snapshot.fabric, hypervisor::Clock::now());
  devices_ = snapshot.devices;
  irq_lines_ = snapshot.irq_lines;
  was_reset_ = snapshot.was_reset;
  forget_passes();
  pause_requested_ = false;
  reported_.clear();
  std::erase_if(events_, [](const hypervisor::Event& event) { return stops(event); });
  return {};
}

Result<> KvmMachine::inject_nmi(VcpuId vcpu) {
  const Lock lock(mutex_);
  TRY(check_stopped("injecting an NMI"));
  TRY(check_vcpu(vcpu));
  fabric_->inject_nmi(vcpu);
  return {};
}

Result<> KvmMachine::inject_mce(VcpuId vcpu, const hypervisor::MachineCheck& error) {
  const Lock lock(mutex_);
  TRY(check_stopped("injecting a machine check"));
  TRY(check_vcpu(vcpu));
  auto& target = runner(vcpu);
  if (!target.vcpu.machine_checks()) return unsupported("this host's KVM has no machine checks");
  TRY(target.vcpu.inject_mce(error));
  // HLT ends with the exception or the shutdown that KVM has pending now.
  if ((error.status & mce::kUncorrected) != 0) target.run.halted = false;
  return {};
}

// ICR writes are seen for themselves, so where the kernel makes them does not matter.
Result<> KvmMachine::watch_ipis(std::span<const hypervisor::IcrStore> /*sites*/,
                                std::vector<hypervisor::IpiRule> rules) {
  const Lock lock(mutex_);
  TRY(check_stopped("changing what becomes of IPIs"));
  fabric_->watch(rules);
  return {};
}

Result<> KvmMachine::unwatch_ipis() {
  const Lock lock(mutex_);
  TRY(check_stopped("changing what becomes of IPIs"));
  fabric_->unwatch();
  return {};
}

Result<> KvmMachine::set_ipi_rule_active(std::size_t rule, bool active) {
  const Lock lock(mutex_);
  TRY(check_stopped("changing what becomes of IPIs"));
  fabric_->set_rule_active(rule, active);
  return {};
}

hypervisor::UnwatchedIpis KvmMachine::take_unwatched_ipis() {
  const Lock lock(mutex_);
  return fabric_->take_unwatched();
}

}  // namespace panicroom::kvm
