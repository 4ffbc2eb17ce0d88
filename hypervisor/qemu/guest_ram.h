// The guest's memory, read from QEMU's by address: process_vm_readv(2), one copy and no question to QEMU.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace panicroom::qemu {

// A run of guest-physical memory that is one piece of RAM.
struct RamPiece {
  Gpa begin;
  std::uint64_t bytes = 0;
};
// Of QEMU's PC (machine "pc") with so much memory: up to 3.5 GiB in one piece, else 3 GiB and the rest above 4 GiB.
std::vector<RamPiece> ram_of_pc(std::uint64_t memory_bytes);
// True if all of it lies in one of the pieces.
bool is_ram(const std::vector<RamPiece>& pieces, Gpa at, std::uint64_t length);

// What the monitor's `gpa2hva` answers for an address in memory: the address in QEMU's process.
std::optional<std::uint64_t> parse_gpa2hva(std::string_view answer);

class GuestRam {
 public:
  struct Mapped {
    RamPiece piece;
    std::uint64_t host = 0;  // Where it begins in QEMU's process.
  };
  GuestRam(pid_t qemu, std::vector<Mapped> pieces) : qemu_(qemu), pieces_(std::move(pieces)) {}

  // Whether this can answer: not for what is no RAM, nor for the legacy hole from 640 KiB to 1 MiB, where reads reach
  // video memory and ROM instead.
  [[nodiscard]] bool covers(Gpa at, std::uint64_t length) const;
  // What covers() says yes to, from a machine that stands still. kHost with the errno's text; EPERM is a host that
  // lets nobody look into another process (kernel.yama.ptrace_scope).
  Result<> read(Gpa at, std::span<std::byte> into) const;

 private:
  pid_t qemu_;
  std::vector<Mapped> pieces_;
};

}  // namespace panicroom::qemu
