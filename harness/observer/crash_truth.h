// What the hypervisor knows of a crash, by its own eyes: registers of the vCPUs and the machine's memory. The dump is
// compared with this.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/vmcore/prstatus.h"
#include "agent/vmcore/samples.h"
#include "base/address.h"
#include "hypervisor/registers.h"

namespace panicroom::harness {

// What an NT_PRSTATUS note holds, in its order (vmcore::Register).
using PrstatusRegisters = std::array<std::uint64_t, vmcore::kRegisterCount>;

// The registers of a CPU at a moment before the crash: what a dump that is not of this crash may have.
struct Moment {
  std::string what;  // "armed", "step 2", "panic-entered".
  hypervisor::Registers registers;
};

struct CpuTruth {
  // Where the crash stopped it, by the vCPU's own registers and the frame that the CPU pushed for the NMI; for the CPU
  // that panicked: where it took down its own registers in __crash_kexec(), or where its oops happened.
  std::optional<hypervisor::Registers> stopped_at;
  std::string stopped_by;  // "the crash NMI", "itself", for people.
  // Set where the CPU took down its own registers: the code that does so changes RAX on the way, and the RIP that it
  // takes down is its own, in this function.
  struct Code {
    Gva begin;
    Gva end;
  };
  std::optional<Code> by_own_code;
  // What it was about to save as it entered crash_save_cpu(): the note must be this. Nothing: it never came there.
  std::optional<PrstatusRegisters> saved;
  std::vector<Moment> earlier;
};

// [begin, end) of physical memory.
struct MemoryRange {
  Gpa begin;
  Gpa end;
};

struct SampleTruth {
  vmcore::Sample sample;
  bool constant = false;  // Nothing writes there, even if a CPU still runs.
  bool must_be_there = true;
};

// Why the kernel died, as far as it is known: the message of panic(), or the part of it before the first conversion.
struct PanicMessage {
  std::string text;
  bool whole = false;
};

struct CrashTruth {
  std::map<VcpuId, CpuTruth> cpus;
  std::optional<VcpuId> owner;          // The CPU that jumped into the capture kernel.
  std::optional<PanicMessage> message;  // Nothing if it did not come through panic(): an oops.
  std::uint32_t vcpus = 0;
  std::string kernel_release;
  KaslrSlide slide;
  std::optional<std::int64_t> phys_base;
  std::vector<MemoryRange> ram;  // That a dump must hold; empty if it is not known.
  std::vector<SampleTruth> samples;

  // CPUs that had not saved their registers when the owner jumped: they may still have been running.
  [[nodiscard]] std::vector<VcpuId> not_stopped() const {
    std::vector<VcpuId> result;
    for (std::uint32_t number = 0; number < vcpus; ++number) {
      const auto found = cpus.find(VcpuId{number});
      if (found == cpus.end() || !found->second.saved) result.push_back(VcpuId{number});
    }
    return result;
  }
};

}  // namespace panicroom::harness
