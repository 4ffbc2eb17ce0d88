// Builds the initramfs images of both kernels: newc cpio archives, made in memory, uncompressed (every kernel can
// unpack them) and the same bytes for the same input.
#pragma once

#include <cstddef>
#include <vector>

#include "agent/initramfs/program.h"
#include "agent/protocol/config.h"
#include "agent/vmcore/samples.h"
#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::agent {

// The agent's binary, which is a part of this library. Lives for ever.
Bytes agent_binary();

// For the capture kernel: the agent as /init, what it mounts on, which memory it is to compare, and other programs that
// it needs, if any, with their libraries.
Result<std::vector<std::byte>> capture_initramfs(const vmcore::SamplePlan& samples,
                                                 const std::vector<ProgramFile>& programs = {});

struct FirstInitramfs {
  Config config;
  Bytes capture_kernel;   // The bzImage; may be empty where nothing calls kexec_file_load().
  Bytes capture_vmlinux;  // The ELF vmlinux, which is packed; may be empty where config.kexec is not kexec_load().
  Bytes capture_initrd;   // What capture_initramfs() gave.
};
// For the kernel under test. kInvalidInput if the configuration cannot be kept; kHost if memory is short.
Result<std::vector<std::byte>> first_initramfs(const FirstInitramfs& content);

}  // namespace panicroom::agent
