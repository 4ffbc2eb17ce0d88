// The libvirt domain of one machine, as XML. Pure; which fields libvirt takes is in its "Domain XML format" manual.
//
// Leaves out every device that a panic does not need: no network, USB, graphics or memory balloon, so that nothing but
// the guest's own code decides what runs. The guest sees a PC with a 16550 console, QEMU's debug console as the agent
// port, and a disk that it never uses: QEMU keeps snapshots in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace panicroom::qemu {

enum class Accelerator {
  kTcg,  // Binary translation: works on every host.
  kKvm,  // Hardware virtualisation.
};

// The I/O port that the guest's agent writes to.
inline constexpr std::uint16_t kAgentPort = 0x402;

struct DomainSpec {
  std::string name;
  Accelerator accelerator = Accelerator::kTcg;
  std::uint32_t vcpus = 1;
  std::uint64_t memory_bytes = 0;
  std::vector<std::uint32_t> pin;  // pin[n]: the host CPU for vCPU n. Empty: unpinned.
  std::filesystem::path kernel;
  std::filesystem::path initramfs;  // May be empty.
  std::string cmdline;
  std::filesystem::path snapshot_disk;   // qcow2; exists.
  bool io_uring = false;                 // The disk is read and written by io_uring(7), else by QEMU's threads.
  std::filesystem::path console_socket;  // QEMU listens on these three.
  std::filesystem::path agent_socket;
  std::filesystem::path gdb_socket;
};

std::string domain_xml(const DomainSpec& spec);

}  // namespace panicroom::qemu
