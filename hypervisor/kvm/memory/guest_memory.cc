#include "hypervisor/kvm/memory/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

namespace panicroom::kvm {
namespace {

// Of host addresses: huge pages, where the host gives them, need guest and host addresses that agree below this.
constexpr std::uint64_t kHostAlignment = std::uint64_t{2} << 20;
constexpr std::size_t kChunkPages = 512;

// Documentation/admin-guide/mm/pagemap.rst: a page that is there or in swap, and is not the file's, is private.
constexpr std::uint64_t kPagemapPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kPagemapSwapped = std::uint64_t{1} << 62;
constexpr std::uint64_t kPagemapOfFile = std::uint64_t{1} << 61;

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;
// Not F_SEAL_WRITE, which fails while anybody, such as KVM, has a page pinned. No writable mapping is left when it
// counts, so it comes to the same.
constexpr int kFrozenSeals = F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

Result<UniqueFd> new_file(std::uint64_t bytes) {
  UniqueFd file(::memfd_create("panicroom-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return errno_error(errno, "memfd_create for the guest's memory");
  if (bytes > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()) ||
      ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    return errno_error(bytes > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()) ? EFBIG : errno,
                       fmt::format("making {} bytes of memory for the guest", bytes));
  }
  return file;
}

Result<> seal(int file, int seals) {
  if (::fcntl(file, F_ADD_SEALS, seals) != 0) return errno_error(errno, "sealing the guest's memory (F_ADD_SEALS)");
  return {};
}

// Where a sparse file has data. Asked in ascending order, it costs two system calls for each run of data.
class DataRuns {
 public:
  explicit DataRuns(int file) : file_(file) {}

  bool has(off_t at) {
    if (at >= end_) find(at);
    return at >= begin_;
  }

 private:
  static constexpr off_t kForEver = std::numeric_limits<off_t>::max();

  void find(off_t at) {
    begin_ = ::lseek(file_, at, SEEK_DATA);
    if (begin_ < 0) {
      // ENXIO: no more data. Where the host cannot tell, all of it may be data.
      begin_ = errno == ENXIO ? kForEver : at;
      end_ = kForEver;
      return;
    }
    end_ = ::lseek(file_, begin_, SEEK_HOLE);
    if (end_ < 0) end_ = kForEver;
  }

  int file_;
  off_t begin_ = 0;
  off_t end_ = 0;
};

bool is_zero(const std::byte* page) {
  static constexpr std::array<std::byte, kPageBytes> kZeroes{};
  return std::memcmp(page, kZeroes.data(), kPageBytes) == 0;
}

Result<> write_at(int file, const std::byte* from, std::size_t bytes, std::uint64_t offset) {
  while (bytes > 0) {
    const ssize_t put = ::pwrite(file, from, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error(errno, "copying the guest's memory into a snapshot");
    from += put;
    bytes -= static_cast<std::size_t>(put);
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

}  // namespace

Result<GuestMemory> GuestMemory::create(std::uint64_t bytes) {
  if (bytes == 0 || bytes % kPageBytes != 0) {
    return invalid_input("the guest's memory has to be a multiple of {} bytes and at least as much, not {} bytes",
                         kPageBytes, bytes);
  }
  GuestMemory memory;
  memory.shared_ = TRY(new_file(bytes));
  TRY(seal(memory.shared_.get(), kSeals));

  // Addresses for all of it, and more, of which what does not lie on the alignment is given back.
  const std::uint64_t reserved = bytes + kHostAlignment;
  void* const mapped = ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return errno_error(errno, fmt::format("mapping {} bytes of memory for the guest", bytes));
  auto* const begin = static_cast<std::byte*>(mapped);
  const std::uint64_t skip =
      (kHostAlignment - reinterpret_cast<std::uintptr_t>(begin) % kHostAlignment) % kHostAlignment;
  if (skip > 0) ::munmap(begin, skip);
  ::munmap(begin + skip + bytes, kHostAlignment - skip);

  memory.size_ = bytes;
  const std::uint64_t low = std::min(bytes, kLowRamLimit);
  memory.slots_.push_back({Gpa{0}, low, begin + skip});
  if (bytes > low) memory.slots_.push_back({kHighRam, bytes - low, begin + skip + low});
  TRY(memory.map(memory.shared_.get(), MAP_SHARED));
  return memory;
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : size_(std::exchange(other.size_, 0)),
      slots_(std::exchange(other.slots_, {})),
      shared_(std::move(other.shared_)),
      base_(std::move(other.base_)) {}

GuestMemory& GuestMemory::operator=(GuestMemory&& other) noexcept {
  if (this != &other) {
    unmap();
    size_ = std::exchange(other.size_, 0);
    slots_ = std::exchange(other.slots_, {});
    shared_ = std::move(other.shared_);
    base_ = std::move(other.base_);
  }
  return *this;
}

GuestMemory::~GuestMemory() { unmap(); }

void GuestMemory::unmap() {
  for (const Slot& slot : slots_) ::munmap(slot.host, slot.size);
}

Result<> GuestMemory::map(int file, int flags) {
  std::uint64_t offset = 0;
  for (const Slot& slot : slots_) {
    // MAP_NORESERVE: a private mapping would else be counted against the host's commit limit at its full size, each
    // time, though a guest touches little of it.
    if (::mmap(slot.host, slot.size, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE, file,
               static_cast<off_t>(offset)) == MAP_FAILED) {
      return errno_error(errno, "mapping the guest's memory, which is lost by that");
    }
    // Not for child processes, whose existence would make every page copy-on-write once more; nor for core dumps.
    ::madvise(slot.host, slot.size, MADV_DONTFORK);
    ::madvise(slot.host, slot.size, MADV_DONTDUMP);
    offset += slot.size;
  }
  return {};
}

std::byte* GuestMemory::host_address(Gpa begin, std::uint64_t bytes) const {
  for (const Slot& slot : slots_) {
    const std::uint64_t offset = begin - slot.begin;
    if (begin >= slot.begin && offset <= slot.size && bytes <= slot.size - offset) return slot.host + offset;
  }
  return nullptr;
}

Result<> GuestMemory::read(Gpa at, std::span<std::byte> into) const {
  if (into.empty()) return {};
  const std::byte* const from = host_address(at, into.size());
  if (from == nullptr) return invalid_input("not all of the {} bytes at guest-physical {} are RAM", into.size(), at);
  std::memcpy(into.data(), from, into.size());
  return {};
}

Result<> GuestMemory::write(Gpa at, std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  std::byte* const to = host_address(at, bytes.size());
  if (to == nullptr) return invalid_input("not all of the {} bytes at guest-physical {} are RAM", bytes.size(), at);
  std::memcpy(to, bytes.data(), bytes.size());
  return {};
}

Result<std::span<std::byte>> GuestMemory::at(Gpa begin, std::uint64_t bytes) {
  std::byte* const host = host_address(begin, bytes);
  if (host == nullptr) return invalid_input("not all of the {} bytes at guest-physical {} are RAM", bytes, begin);
  return std::span(host, bytes);
}

Result<std::shared_ptr<const MemoryImage>> GuestMemory::freeze() {
  UniqueFd file;
  if (shared_) {
    TRY(seal(shared_.get(), kFrozenSeals));
    file = std::move(shared_);
  } else {
    file = TRY(copy_to_new_file());
    TRY(seal(file.get(), kSeals | kFrozenSeals));
  }
  // Not make_shared: the constructor is this class's alone.
  base_ = std::shared_ptr<const MemoryImage>(new MemoryImage(std::move(file), size_));
  TRY(map(base_->file_.get(), MAP_PRIVATE));
  return base_;
}

Result<> GuestMemory::restore(const std::shared_ptr<const MemoryImage>& image) {
  if (image->size() != size_) {
    return invalid_input("a snapshot of {} bytes of memory does not fit a guest with {} bytes", image->size(), size_);
  }
  TRY(map(image->file_.get(), MAP_PRIVATE));
  base_ = image;
  shared_.reset();
  return {};
}

Result<UniqueFd> GuestMemory::copy_to_new_file() const {
  UniqueFd file = TRY(new_file(size_));
  // May not be there (a kernel without CONFIG_PROC_PAGE_MONITOR): then every page is taken for private.
  const UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  std::uint64_t offset = 0;
  for (const Slot& slot : slots_) {
    TRY(copy_slot(slot, offset, file.get(), pagemap.get()));
    offset += slot.size;
  }
  return file;
}

Result<> GuestMemory::copy_slot(const Slot& slot, std::uint64_t file_offset, int to, int pagemap) const {
  DataRuns before(base_->file_.get());
  std::array<std::uint64_t, kChunkPages> entries{};
  for (std::uint64_t chunk = 0; chunk < slot.size; chunk += kChunkPages * kPageBytes) {
    const std::uint64_t pages = std::min<std::uint64_t>(kChunkPages, (slot.size - chunk) / kPageBytes);
    const std::uint64_t first_page = reinterpret_cast<std::uintptr_t>(slot.host + chunk) / kPageBytes;
    const std::size_t wanted = pages * sizeof(std::uint64_t);
    const bool known =
        pagemap >= 0 && ::pread(pagemap, entries.data(), wanted,
                                static_cast<off_t>(first_page * sizeof(std::uint64_t))) == static_cast<ssize_t>(wanted);
    std::uint64_t run = 0;  // So many pages before this one are to be written.
    for (std::uint64_t page = 0; page <= pages; ++page) {
      const std::uint64_t at = chunk + page * kPageBytes;
      // To read a page that is neither private nor in the image would put one there: it is zero.
      const auto may_have_content = [&] {
        const bool is_private = !known || ((entries[page] & (kPagemapPresent | kPagemapSwapped)) != 0 &&
                                           (entries[page] & kPagemapOfFile) == 0);
        return is_private || before.has(static_cast<off_t>(file_offset + at));
      };
      if (page < pages && may_have_content() && !is_zero(slot.host + at)) {
        ++run;
      } else if (run > 0) {
        const std::uint64_t begin = at - run * kPageBytes;
        TRY(write_at(to, slot.host + begin, run * kPageBytes, file_offset + begin));
        run = 0;
      }
    }
  }
  return {};
}

}  // namespace panicroom::kvm
