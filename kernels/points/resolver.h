// Finds points in a kernel image by disassembly: where the instruction that a scenario names lies in this kernel.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "hypervisor/registers.h"
#include "kernels/image/kernel_image.h"
#include "kernels/points/named_points.h"
#include "kernels/points/point_spec.h"

namespace panicroom::kernels {

struct ResolvedPoint {
  std::string text;             // The point's name, as given.
  std::vector<LinkAddress> at;  // One address; several for `/return` and `stop/self`.
  PointCondition condition = PointCondition::kAlways;
  std::string how;  // How it was found, for `panicroom kernels inspect`.
};

// kUnsupported if this kernel has no such place, or more than one where one is meant: the message says which.
Result<ResolvedPoint> resolve(const KernelImage& kernel, const PointSpec& spec);

// The instruction before which a losing compare-and-exchange can be turned into a won one: `panic/gate`'s instruction
// after the compare-and-exchange, with what to set.
struct Gate {
  LinkAddress after_exchange;  // The losing CPU has ZF=0 here, the winning one ZF=1.
};
Result<Gate> panic_gate(const KernelImage& kernel);

// Where the kernel maps the local APIC's registers (xAPIC mode), as the functions tell that are given a register's
// offset. It is a page of the fixmap, so KASLR does not move it. kUnsupported if they do not tell, or disagree.
Result<LinkAddress> local_apic(const KernelImage& kernel);

// Every store to the ICR's low half in the kernel's text (see hypervisor/ipi.h), by its encoding. kUnsupported if there
// is none.
struct IcrStoreSite {
  LinkAddress at;
  hypervisor::Gpr value;
  std::uint8_t length;
};
Result<std::vector<IcrStoreSite>> icr_stores(const KernelImage& kernel);

// A two-instruction loop `pause; jmp` in kernel text, in which a vCPU can be parked without touching anything.
Result<LinkAddress> pause_loop(const KernelImage& kernel);

}  // namespace panicroom::kernels
