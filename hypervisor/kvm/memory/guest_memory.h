// The guest's RAM: one memfd, mapped into this process, and copy-on-write snapshots of it.
//
// RAM begins at guest-physical 0; what does not fit below 3 GiB lies from 4 GiB up, so that the last GiB below 4 GiB is
// free for what is no memory (APICs). Host addresses never change, so the slots that KVM was told stay true over
// freeze() and restore(): KVM drops its own mappings by MMU notifiers (Documentation/virt/kvm/mmu.rst, "Reaction to
// events").
//
// Leaves out devices' memory and what KVM is told. Threading: none of its own; the machine's mutex guards it, and no
// vCPU may execute during freeze() and restore().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/file.h"
#include "base/result.h"

namespace panicroom::kvm {

inline constexpr std::uint64_t kPageBytes = 4096;
inline constexpr std::uint64_t kLowRamLimit = std::uint64_t{3} << 30;
inline constexpr Gpa kHighRam{std::uint64_t{4} << 30};

// What RAM held at a freeze(). Immutable, and sealed so that nobody can change it. As long as anybody holds it, it
// costs host memory: for the pages that are not zero, and for those that were touched in a RAM that maps it, because
// the host backs even a private page's hole with a zero page of the file.
class MemoryImage {
 public:
  // Of the RAM that it is an image of, in bytes.
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  friend class GuestMemory;
  MemoryImage(UniqueFd file, std::uint64_t size) : file_(std::move(file)), size_(size) {}

  UniqueFd file_;  // A memfd; offset n is the nth byte of RAM, the gap below 4 GiB left out.
  std::uint64_t size_;
};

// Movable, not copyable; unmaps everything when destroyed. An object that was moved from is good for nothing but
// destruction and assignment.
class GuestMemory {
 public:
  // `begin` and `size` are multiples of kPageBytes; `host` is where the slot is mapped, aligned to 2 MiB as `begin` is.
  struct Slot {
    Gpa begin;
    std::uint64_t size = 0;
    std::byte* host = nullptr;
  };

  // All zero, and costing nothing until touched. kInvalidInput if `bytes` is 0 or no multiple of kPageBytes, kHost if
  // the host cannot give so much.
  static Result<GuestMemory> create(std::uint64_t bytes);

  GuestMemory(GuestMemory&& other) noexcept;
  GuestMemory& operator=(GuestMemory&& other) noexcept;
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;
  ~GuestMemory();

  // In bytes, the gap below 4 GiB not counted.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  // One or two, in the order of their addresses; the same as long as this object lives, and in what it is moved to.
  [[nodiscard]] std::span<const Slot> slots() const { return slots_; }

  // kInvalidInput, with nothing done, unless all of it is RAM. An empty span is never an error.
  Result<> read(Gpa at, std::span<std::byte> into) const;
  Result<> write(Gpa at, std::span<const std::byte> bytes);
  // RAM itself, for loaders; valid as long as this object lives. kInvalidInput unless all of it is RAM.
  Result<std::span<std::byte>> at(Gpa begin, std::uint64_t bytes);

  // Makes an image of what RAM holds now; from then on RAM is a private copy-on-write mapping of that image, at the
  // same host addresses. The first freeze copies nothing: the memfd itself becomes the image. A later one (or one after
  // a restore()) writes a memfd of its own with those pages that are not zero: it shares nothing with the image before,
  // so it costs a copy, but neither a chain of mappings nor a dependence on that image. Pages that the image before
  // does not have, and that nobody has touched since, are not even looked at.
  //
  // kHost if the host has not enough memory. RAM is then as it was, unless the message says that it is lost.
  Result<std::shared_ptr<const MemoryImage>> freeze();

  // RAM holds again what the image does; copies nothing, and frees the pages that were private. kInvalidInput if the
  // image is not of a RAM of this size. kHost if the host refuses to map it: RAM is then lost.
  Result<> restore(const std::shared_ptr<const MemoryImage>& image);

 private:
  GuestMemory() = default;
  void unmap();
  // Maps the file over all slots. `flags` is MAP_SHARED or MAP_PRIVATE.
  Result<> map(int file, int flags);
  // The host address of [begin, begin + bytes) or null.
  [[nodiscard]] std::byte* host_address(Gpa begin, std::uint64_t bytes) const;
  Result<UniqueFd> copy_to_new_file() const;
  Result<> copy_slot(const Slot& slot, std::uint64_t file_offset, int to, int pagemap) const;

  std::uint64_t size_ = 0;
  std::vector<Slot> slots_;
  UniqueFd shared_;                          // The memfd of RAM that was never frozen.
  std::shared_ptr<const MemoryImage> base_;  // Or the image that RAM is a private mapping of.
};

}  // namespace panicroom::kvm
