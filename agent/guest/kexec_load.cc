#include "agent/guest/kexec_load.h"

#include <fcntl.h>
#include <linux/kexec.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/guest/large_memory.h"
#include "agent/guest/pseudo_files.h"
#include "agent/kexec/crash_image.h"
#include "agent/protocol/config.h"
#include "agent/protocol/packed.h"
#include "base/file.h"

namespace panicroom::agent {
namespace {

constexpr const char* kKcorePath = "/proc/kcore";
constexpr const char* kVmcoreinfoPath = "/sys/kernel/vmcoreinfo";
constexpr const char* kBootParamsPath = "/sys/kernel/boot_params/data";

std::string_view what_mends(int error) {
  switch (error) {
    case EADDRNOTAVAIL:
      return "the kernel has other crash memory than /proc/iomem tells";
    case ENOMEM:
      return "the capture kernel and its initramfs do not fit into the crash memory: raise machine.crashkernel";
    case EINVAL:
      return "the capture kernel takes more than half of the machine's memory (raise machine.memory), or the kernel "
             "under test does not take it for one of x86-64";
    case EPERM:
      return "kexec is forbidden: take kexec_load_disabled and lockdown= off the kernel's command line; and a kernel "
             "that wants a signed capture kernel (CONFIG_KEXEC_SIG_FORCE) needs machine.kexec: file";
    case EBUSY:
      return "another kexec is going on";
    default:
      return "see the kernel's console for its reason";
  }
}

// A file's pages, read when they are looked at: those of an initramfs's are the file itself, and no copies.
class MappedFile {
 public:
  static Outcome<MappedFile> open(std::string_view path) {
    const std::string name(path);
    const UniqueFd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!fd || fstat(fd.get(), &status) != 0) {
      return failure(v1::Failed::STAGE_CONFIG, errno, name + " is not in the initramfs");
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size == 0) return MappedFile(nullptr, 0);
    void* at = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (at == MAP_FAILED) return failure(v1::Failed::STAGE_INTERNAL, errno, name + " cannot be mapped");
    return MappedFile(at, size);
  }
  MappedFile(MappedFile&& other) noexcept : at_(std::exchange(other.at_, nullptr)), size_(other.size_) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile() {
    if (at_ != nullptr) munmap(at_, size_);
  }

  [[nodiscard]] Bytes bytes() const {
    return at_ == nullptr ? Bytes() : Bytes(static_cast<const std::byte*>(at_), size_);
  }

 private:
  MappedFile(void* at, std::size_t size) : at_(at), size_(size) {}

  void* at_;
  std::size_t size_;
};

// Of what the running kernel should tell.
tl::unexpected<Failure> not_told(const Error& error) {
  return failure(v1::Failed::STAGE_KEXEC_MISSING, 0, error.message());
}
tl::unexpected<Failure> not_there(std::string_view path, std::string_view option) {
  return failure(
      v1::Failed::STAGE_KEXEC_MISSING, errno,
      fmt::format("{}: {}: kexec_load() needs what it tells ({}): choose another kernel, or machine.kexec: file", path,
                  std::strerror(errno), option));
}

Outcome<kexec::KernelPlace> kernel_place() {
  const UniqueFd fd(open(kKcorePath, O_RDONLY | O_CLOEXEC));
  std::vector<std::byte> headers(kexec::kElfHeaderBytes);
  if (!fd || pread(fd.get(), headers.data(), headers.size(), 0) < 0) return not_there(kKcorePath, "CONFIG_PROC_KCORE");
  const auto size = kexec::kcore_headers_size(headers);
  if (!size) return not_told(size.error());
  headers.resize(*size);
  const auto got = pread(fd.get(), headers.data(), headers.size(), 0);
  headers.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  const auto place = kexec::read_kcore(headers);
  if (!place) return not_told(place.error());
  return *place;
}

// Of every CPU that the kernel knows; a CPU that it could have, but has not, writes no notes.
Outcome<std::vector<kexec::NoteArea>> crash_notes() {
  std::vector<kexec::NoteArea> areas;
  const long cpus = sysconf(_SC_NPROCESSORS_CONF);
  for (long cpu = 0; cpu < cpus; ++cpu) {
    const auto path = fmt::format("/sys/devices/system/cpu/cpu{}/crash_notes", cpu);
    const auto address = read_small_file(path.c_str());
    const auto size = read_small_file((path + "_size").c_str());
    if (!address || !size) {
      if (cpu == 0) return not_there(path, "CONFIG_KEXEC");
      continue;
    }
    const auto area = kexec::parse_crash_notes(*address, *size);
    if (!area) return failure(v1::Failed::STAGE_KEXEC_MISSING, 0, fmt::format("{}: {}", path, area.error().message()));
    areas.push_back(*area);
  }
  return areas;
}

// What the running kernel tells of itself and of its machine.
Outcome<kexec::CrashImageParts> read_parts() {
  kexec::CrashImageParts parts;
  const auto iomem = read_text_file("/proc/iomem");
  if (!iomem) return not_told(iomem.error());
  auto machine = kexec::parse_iomem(*iomem);
  if (!machine) return not_told(machine.error());
  parts.machine = *std::move(machine);
  auto place = kernel_place();
  if (!place) return tl::unexpected(place.error());
  parts.kernel = *place;
  auto notes = crash_notes();
  if (!notes) return tl::unexpected(notes.error());
  parts.cpu_notes = *std::move(notes);
  const auto info = read_small_file(kVmcoreinfoPath);
  if (!info) return not_there(kVmcoreinfoPath, "CONFIG_KEXEC");
  const auto area = kexec::parse_vmcoreinfo_area(*info);
  if (!area) return not_told(area.error());
  parts.vmcoreinfo = *area;
  // Without one that is good enough for keys: the capture kernel gathers more, or has none that matter.
  [[maybe_unused]] const auto got = getrandom(parts.seed.data(), parts.seed.size(), GRND_NONBLOCK | GRND_INSECURE);
  return parts;
}

Outcome<> load(const kexec::CrashImage& image) {
  std::vector<kexec_segment> segments;
  for (const auto& segment : image.segments) {
    segments.push_back({.buf = segment.content.data(),
                        .bufsz = segment.content.size(),
                        // NOLINTNEXTLINE(performance-no-int-to-ptr): the interface has it so.
                        .mem = reinterpret_cast<const void*>(segment.at.value),
                        .memsz = segment.bytes});
  }
  if (syscall(SYS_kexec_load, image.entry.value, segments.size(), segments.data(),
              static_cast<unsigned long>(KEXEC_ON_CRASH | KEXEC_ARCH_X86_64)) == 0) {
    return {};
  }
  const int error = errno;
  if (error == ENOSYS) {
    return failure(v1::Failed::STAGE_KEXEC_MISSING, error,
                   "this kernel has no kexec_load() (CONFIG_KEXEC): choose another, or machine.kexec: file");
  }
  return failure(
      v1::Failed::STAGE_KEXEC_LOAD, error,
      fmt::format("kexec_load() of {} segments: {}: {}", segments.size(), std::strerror(error), what_mends(error)));
}

}  // namespace

Outcome<> load_by_kexec_load(const std::string& command_line) {
  const auto packed = MappedFile::open(kCaptureVmlinuxPath);
  if (!packed) return tl::unexpected(packed.error());
  const auto damaged = [](const Error& error) {
    return failure(v1::Failed::STAGE_CONFIG, 0, fmt::format("{}: {}", kCaptureVmlinuxPath, error.message()));
  };
  const auto size = unpacked_size(packed->bytes());
  if (!size) return damaged(size.error());
  const auto vmlinux = LargeMemory::create(*size);
  if (!vmlinux) {
    return failure(v1::Failed::STAGE_KEXEC_LOAD, ENOMEM,
                   fmt::format("the {} bytes of the unpacked kernel: raise machine.memory", *size));
  }
  if (const auto unpacked = unpack(packed->bytes(), vmlinux->bytes()); !unpacked) return damaged(unpacked.error());
  const auto initrd = MappedFile::open(kCaptureInitrdPath);
  if (!initrd) return tl::unexpected(initrd.error());
  auto parts = read_parts();
  if (!parts) return tl::unexpected(parts.error());
  const auto boot_params = read_file(kBootParamsPath);
  if (!boot_params) return not_told(boot_params.error());
  parts->vmlinux = vmlinux->bytes();
  parts->initrd = initrd->bytes();
  parts->command_line = command_line;
  parts->running_boot_params = *boot_params;
  const auto image = kexec::build_crash_image(*parts);
  if (!image) return failure(v1::Failed::STAGE_KEXEC_LOAD, 0, image.error().message());
  return load(*image);
}

}  // namespace panicroom::agent
