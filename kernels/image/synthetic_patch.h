// How the fuzz targets turn an input into a nearly valid image: a list of patches over a synthetic one, because random
// bytes alone never pass the first magic. Not linked into the product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace panicroom::kernels::testing {

// Each five bytes of `input` are one patch: an offset (u32, modulo the file's size) and the byte to put there.
inline std::vector<std::byte> patched(std::vector<std::byte> file, Bytes input) {
  constexpr std::size_t kPatch = 5;
  for (std::size_t at = 0; at + kPatch <= input.size() && !file.empty(); at += kPatch) {
    file[*load<std::uint32_t>(input, at) % file.size()] = input[at + 4];
  }
  return file;
}

}  // namespace panicroom::kernels::testing
