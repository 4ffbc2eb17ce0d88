// What a guest's kernel tells of itself, and a kernel that is to be loaded, as anybody could have written them. The
// first byte chooses which.
#include <cstdint>

#include "agent/kexec/crash_image.h"
#include "agent/kexec/synthetic_vmlinux.h"
#include "agent/kexec/vmlinux.h"
#include "base/testing/require.h"

namespace panicroom::kexec {
namespace {

constexpr PhysicalRange kCrash{{0x13000000}, {0x15000000}};

void check(const CrashImage& image) {
  require(image.segments.size() <= 16);
  Gpa behind = kCrash.begin;
  for (const auto& segment : image.segments) {
    require(segment.at.value % kPageBytes == 0 && segment.bytes % kPageBytes == 0 && segment.bytes > 0);
    require(segment.content.size() <= segment.bytes);
    require(segment.at >= kCrash.begin && segment.at + segment.bytes <= kCrash.end);
    for (const auto& other : image.segments) {
      require(&other == &segment || other.at + other.bytes <= segment.at || segment.at + segment.bytes <= other.at);
    }
    behind = std::max(behind, segment.at + segment.bytes);
  }
  require(image.entry >= kCrash.begin && image.entry < behind);
}

void build(Bytes vmlinux, const PhysicalMap* machine) {
  const std::vector<std::byte> running(kBootParamsBytes);
  CrashImageParts parts;
  parts.vmlinux = vmlinux;
  if (machine != nullptr) parts.machine = *machine;
  parts.machine.crash_memory = {kCrash};
  parts.vmcoreinfo = {{0x1000}, 1024};
  parts.running_boot_params = running;
  if (const auto image = build_crash_image(parts)) check(*image);
}

void try_all(std::uint8_t which, Bytes bytes) {
  switch (which % 4) {
    case 0:
      build(bytes, nullptr);
      return;
    case 1: {
      const auto map = parse_iomem(as_text(bytes));
      if (map) build(synthetic_vmlinux({{0x1000000, 0x5000, 0x9000}}, 0x1000000), &*map);
      return;
    }
    case 2:
      if (const auto size = kcore_headers_size(bytes)) require(*size > 0);
      if (const auto place = read_kcore(bytes)) require(place->text_bytes > 0 && place->direct_map.value >> 63 != 0);
      return;
    default: {
      const auto text = as_text(bytes);
      const auto half = text.substr(0, text.size() / 2);
      if (const auto area = parse_vmcoreinfo_area(text)) require(area->bytes > 0);
      if (const auto area = parse_crash_notes(half, text.substr(half.size()))) require(area->at.value > 0);
    }
  }
}

}  // namespace
}  // namespace panicroom::kexec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  panicroom::kexec::try_all(data[0], std::as_bytes(std::span(data + 1, size - 1)));
  return 0;
}
