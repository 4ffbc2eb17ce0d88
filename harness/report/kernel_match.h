// Which kernel of an older report a kernel of a newer one is to be compared with: a distribution's kernel has a new
// release with every update, and is still the kernel of that flavour and suite.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace panicroom::harness {

// A kernel as it was run: two entries of one report differ in something.
struct KernelIdentity {
  std::string release;    // uname -r, or the reference if the kernel could not be had.
  std::string reference;  // As the command line named it; empty in older reports.
  std::string capture;    // The capture kernel's release; empty if the kernel captured its own dump.
  std::string engine;

  // NOLINTNEXTLINE(modernize-use-nullptr): it is none.
  friend auto operator<=>(const KernelIdentity&, const KernelIdentity&) = default;
};

// For each kernel of `after` the index of its counterpart in `before`, if it has one; each is used once. Only kernels
// with the same engine are counterparts, and both capture their own dump or neither does. The first rule that fits
// decides; each rule looks only at kernels that those above it left over, and decides only if exactly one kernel on
// either side fits:
//
// 1. the same release, and the same capture kernel;
// 2. the same release;
// 3. the same reference, if it names a suite and flavour ("debian:trixie/cloud-amd64");
// 4. the same flavour and series ("cloud-amd64" and "6.12");
// 5. the same flavour.
std::vector<std::optional<std::size_t>> match_kernels(const std::vector<KernelIdentity>& before,
                                                      const std::vector<KernelIdentity>& after);

// "cloud-amd64" of 6.12.107+deb13-cloud-amd64 or debian:trixie/cloud-amd64: what stands behind a release's version,
// from the first '-' that a word follows. Empty if there is nothing.
std::string flavour_of(std::string_view release);
// "6.12" of 6.12.107+deb13-cloud-amd64; empty for what does not start like a release.
std::string series_of(std::string_view release);

}  // namespace panicroom::harness
