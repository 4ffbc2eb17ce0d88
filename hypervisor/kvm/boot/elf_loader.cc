#include "hypervisor/kvm/boot/elf_loader.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "kernels/image/elf_image.h"

namespace panicroom::kvm {
namespace {

struct Placed {
  GpaRange range;
  Bytes content;
};

// All segments that take memory, by address.
Result<std::vector<Placed>> place(std::span<const kernels::Segment> segments, std::uint64_t ram) {
  std::vector<Placed> placed;
  for (const kernels::Segment& segment : segments) {
    const std::uint64_t bytes = segment.range.size();
    const Gpa begin{segment.physical_address};
    if (bytes == 0) continue;
    if (begin.value > ram || bytes > ram - begin.value) {
      return invalid_input(
          "ELF: the segment with p_paddr {:#x} and p_memsz {:#x} does not fit into the {:#x} bytes of memory below 4 "
          "GiB: give the machine more memory",
          begin.value, bytes, ram);
    }
    placed.push_back({{begin, begin + bytes}, segment.content});
  }
  std::sort(placed.begin(), placed.end(),
            [](const Placed& a, const Placed& b) { return a.range.begin < b.range.begin; });
  return placed;
}

// Also what bounds the work: together they are at most as large as RAM.
Result<> check_apart(std::span<const Placed> placed, std::span<const GpaRange> taken) {
  for (std::size_t i = 0; i < placed.size(); ++i) {
    const GpaRange& range = placed[i].range;
    if (i > 0 && range.overlaps(placed[i - 1].range)) {
      return invalid_input("ELF: the segments with p_paddr {:#x} and {:#x} overlap", placed[i - 1].range.begin.value,
                           range.begin.value);
    }
    for (const GpaRange& other : taken) {
      if (!range.overlaps(other)) continue;
      return invalid_input(
          "ELF: the segment with p_paddr {:#x} and p_memsz {:#x} overlaps what the loader has from {:#x} to {:#x}: "
          "link "
          "it to lie elsewhere",
          range.begin.value, range.end - range.begin, other.begin.value, other.end.value);
    }
  }
  return {};
}

}  // namespace

Result<LoadedElf> load_elf(GuestMemory& memory, std::vector<std::byte> file, std::span<const GpaRange> taken) {
  const auto image = TRY(kernels::ElfImage::parse(std::move(file)));
  const auto placed = TRY(place(image.segments(), memory.slots().front().size));
  TRY(check_apart(placed, taken));
  const Gpa entry{image.entry_physical_address()};
  const bool entry_loaded = std::any_of(placed.begin(), placed.end(), [entry](const Placed& segment) {
    return segment.range.begin <= entry && entry < segment.range.end;
  });
  if (!entry_loaded) {
    return invalid_input("ELF: e_entry {:#x} lies in no segment's physical addresses (p_paddr)", entry.value);
  }
  for (const Placed& segment : placed) {
    const auto target = TRY(memory.at(segment.range.begin, segment.range.end - segment.range.begin));
    const auto rest = std::copy(segment.content.begin(), segment.content.end(), target.begin());
    std::fill(rest, target.end(), std::byte{0});
  }
  return LoadedElf{entry, placed.back().range.end};
}

}  // namespace panicroom::kvm
