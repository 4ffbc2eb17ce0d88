// Kernel references with wildcards, for running on many kernels: "debian:*/cloud-amd64", "/boot/vmlinuz-*". Only says
// what a pattern could mean; which of it the archive has is KernelStore::expand()'s part.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/packages/kernel_ref.h"

namespace panicroom::kernels {

// True for a reference with one of the shell's wildcards, * ? [, unless it is the path of a file that exists.
bool is_kernel_pattern(std::string_view text);

// The references that a pattern can stand for; fnmatch(3) decides, and a wildcard does not match a '/'.
//
// - "debian:SUITE/FLAVOUR": the suites and flavours below that match, the oldest suite first. A part without wildcards
//   is taken as it is, so that "debian:stable/*" has the flavours of a suite that is not among them.
// - "PATH" and "PATH:modules=DIR": the regular files that match, in the order of their versions, each once, whatever
//   links lead to it. Files that package managers put aside (.old, .bak, .dpkg-*) match like any other.
//
// Empty if there are none. kInvalidInput for a pattern in a reference of another form, such as "debian:6.1.*".
Result<std::vector<KernelRef>> references_matching(std::string_view pattern);

// What "debian:*/*" stands for.
const std::vector<std::string>& suites_with_kernels();
const std::vector<std::string>& kernel_flavours();

}  // namespace panicroom::kernels
