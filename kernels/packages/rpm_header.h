// The headers in front of an RPM's payload, as far as they tell whether the payload is worth reading: is the file
// whole, for which architecture is it, is there a cpio archive in it. Layout: "RPM V4 Package Format" in rpm's manual;
// all numbers in it are big-endian.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kernels {

// An RPM's file begins with these four bytes.
bool is_rpm(Bytes file);

// Enough for the headers of a package with tens of thousands of files.
inline constexpr std::uint64_t kMaxRpmHeader = std::uint64_t{32} << 20;

// `begin`: the file's first bytes, kMaxRpmHeader of them or all. `file_size`: in bytes. kInvalidInput for a truncated
// or broken file, kUnsupported for a source package, a delta, or another architecture than x86_64.
Result<> check_rpm_headers(Bytes begin, std::uint64_t file_size);

}  // namespace panicroom::kernels
