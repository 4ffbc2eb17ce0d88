// Looking at and changing the guest of a QemuMachine: registers, memory, breakpoints, snapshots.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "hypervisor/qemu/qemu_machine.h"

namespace panicroom::qemu {
namespace {

// From this size on memory that cannot be read from QEMU's goes over the monitor, which takes some milliseconds and
// then copies; the stub, in hexadecimal digits and packets of two KiB, takes longer for more.
constexpr std::size_t kBulk = std::size_t{128} * 1024;

Error outside(Gpa at, std::size_t length) {
  return invalid_input("{} bytes at physical address {} are not all memory", length, at);
}

// The monitor's commands take names without quoting.
Result<> check_snapshot_name(const std::string& name) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; };
  if (!name.empty() && name.size() <= 100 && std::all_of(name.begin(), name.end(), plain)) return {};
  return invalid_input("\"{}\" is no name for a snapshot: letters, digits, '-', '_' and '.'", name);
}

}  // namespace

template <typename T>
Result<T> QemuMachine::or_lose(Result<T> result) {
  if (!result) return lose(result.error());
  return result;
}
template Result<> QemuMachine::or_lose(Result<>);
template Result<hypervisor::Registers> QemuMachine::or_lose(Result<hypervisor::Registers>);

Result<hypervisor::Registers> QemuMachine::registers(VcpuId vcpu) {
  TRY(check_stopped("reading registers"));
  TRY(check_vcpu(vcpu));
  return or_lose(stub_->read_registers(vcpu));
}

Result<> QemuMachine::set_registers(VcpuId vcpu, const hypervisor::Registers& registers) {
  TRY(check_stopped("writing registers"));
  TRY(check_vcpu(vcpu));
  const auto before = TRY(or_lose(stub_->read_registers(vcpu)));
  TRY(stub_->write_registers(vcpu, registers));
  if (before.rip == registers.rip) return {};
  auto& state = vcpus_[index(vcpu)];
  state.standing_at.reset();
  state.interrupted.reset();
  // It is not at the breakpoints that it had still to report.
  std::erase_if(events_, [&](const hypervisor::Event& event) { return is_hit_of(event, vcpu); });
  return {};
}

Result<bool> QemuMachine::halted(VcpuId vcpu) {
  TRY(check_stopped("asking whether a vCPU is halted"));
  TRY(check_vcpu(vcpu));
  auto halted = is_halted(vcpu);
  if (!halted) return lose(halted.error());
  return halted;
}

Result<> QemuMachine::read_memory(VcpuId vcpu, Gva at, std::span<std::byte> into) {
  TRY(check_stopped("reading memory"));
  TRY(check_vcpu(vcpu));
  if (into.empty()) return {};
  const auto bytes = stub_->read_memory(vcpu, at, into.size());
  if (!bytes) {
    // An address that is not mapped leaves the stub in working order; anything else does not.
    TRY(or_lose(stub_->read_registers(vcpu)));
    return invalid_input("{} bytes at {} are not all mapped for vCPU {}", into.size(), at, vcpu);
  }
  std::copy(bytes->begin(), bytes->end(), into.begin());
  return {};
}

Result<> QemuMachine::write_memory(VcpuId vcpu, Gva at, std::span<const std::byte> bytes) {
  // Nothing may be written if not all can be.
  std::vector<std::byte> present(bytes.size());
  TRY(read_memory(vcpu, at, present));
  if (bytes.empty()) return {};
  return or_lose(stub_->write_memory(vcpu, at, bytes));
}

Result<> QemuMachine::read_physical(Gpa at, std::span<std::byte> into) {
  TRY(check_stopped("reading memory"));
  if (!is_ram(ram_pieces_, at, into.size())) return outside(at, into.size());
  if (into.empty()) return {};
  if (ram_ && ram_->covers(at, into.size())) {
    if (ram_->read(at, into)) return {};
    ram_.reset();  // The host forbids it, or QEMU is gone: the other ways work, or say so.
  }
  if (into.size() >= kBulk) return or_lose(read_bulk(at, into));
  const auto bytes = stub_->read_physical(at, into.size());
  if (!bytes) return lose(bytes.error());
  std::copy(bytes->begin(), bytes->end(), into.begin());
  return {};
}

// Through a file that is nothing but memory, and that QEMU opens by this process's descriptor for it.
Result<> QemuMachine::read_bulk(Gpa at, std::span<std::byte> into) {
  const UniqueFd file(::memfd_create("panicroom-guest-memory", MFD_CLOEXEC));
  if (!file) return errno_error(errno, "making a file in memory");
  TRY(domain_->save_memory(at, into.size(), fmt::format("/proc/{}/fd/{}", ::getpid(), file.get())));
  std::size_t done = 0;
  while (done < into.size()) {
    const auto got = ::pread(file.get(), into.data() + done, into.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "reading what QEMU saved of the guest's memory");
    if (got == 0) return host_error("QEMU saved {} of {} bytes of the guest's memory", done, into.size());
    done += static_cast<std::size_t>(got);
  }
  return {};
}

Result<> QemuMachine::write_physical(Gpa at, std::span<const std::byte> bytes) {
  TRY(check_stopped("writing memory"));
  if (!is_ram(ram_pieces_, at, bytes.size())) return outside(at, bytes.size());
  if (bytes.empty()) return {};
  return or_lose(stub_->write_physical(at, bytes));
}

Result<> QemuMachine::want_breakpoint(Gva at) {
  auto& wanted = wanted_[at];
  if (wanted == 0) {
    if (auto inserted = stub_->insert_breakpoint(at); !inserted) {
      wanted_.erase(at);
      return inserted;
    }
  }
  ++wanted;
  return {};
}

Result<> QemuMachine::unwant_breakpoint(Gva at) {
  const auto wanted = wanted_.find(at);
  if (wanted == wanted_.end()) return {};
  if (--wanted->second > 0) return {};
  wanted_.erase(wanted);
  return stub_->remove_breakpoint(at);
}

Result<hypervisor::BreakpointId> QemuMachine::add_breakpoint(Gva at, std::set<VcpuId> vcpus) {
  TRY(check_stopped("setting a breakpoint"));
  for (const auto vcpu : vcpus) TRY(check_vcpu(vcpu));
  TRY(want_breakpoint(at));
  const hypervisor::BreakpointId id{next_breakpoint_++};
  breakpoints_.emplace(id, Breakpoint{at, std::move(vcpus)});
  return id;
}

Result<> QemuMachine::remove_breakpoint(hypervisor::BreakpointId id) {
  TRY(check_stopped("removing a breakpoint"));
  const auto found = breakpoints_.find(id);
  if (found == breakpoints_.end()) return invalid_input("there is no breakpoint {}", static_cast<std::uint32_t>(id));
  const auto at = found->second.at;
  breakpoints_.erase(found);
  std::erase_if(events_, [&](const hypervisor::Event& event) {
    const auto* hit = std::get_if<hypervisor::BreakpointHit>(&event);
    return hit != nullptr && hit->id == id;
  });
  return or_lose(unwant_breakpoint(at));
}

Result<> QemuMachine::snapshot(const std::string& snapshot_name) {
  TRY(check_stopped("taking a snapshot"));
  TRY(check_snapshot_name(snapshot_name));
  auto said = domain_->hmp("savevm s-" + snapshot_name, 0, options_.snapshot_patience);
  if (!said) return lose(said.error());
  // It says something only when it fails; the machine is as it was.
  if (!said->empty()) return host_error("taking the snapshot {} in {}: {}", snapshot_name, disk_.native(), *said);
  snapshots_.insert(snapshot_name);
  return {};
}

Result<> QemuMachine::restore(const std::string& snapshot_name) {
  TRY(check_stopped("restoring a snapshot"));
  if (!snapshots_.contains(snapshot_name)) return invalid_input("there is no snapshot \"{}\"", snapshot_name);
  auto said = domain_->hmp("loadvm s-" + snapshot_name, 0, options_.snapshot_patience);
  if (!said) return lose(said.error());
  // Half of it may be in place.
  if (!said->empty()) return lose(host_error("restoring the snapshot {}: {}", snapshot_name, *said));
  forget_passes();
  due_.clear();
  pause_requested_ = false;
  // A reset that the monitor tells late was the one before the restore.
  reset_seen_ = false;
  static_cast<void>(monitor_->take_resets());
  std::erase_if(events_, [](const hypervisor::Event& event) { return stops(event); });
  take_output();
  return {};
}

}  // namespace panicroom::qemu
