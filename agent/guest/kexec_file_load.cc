#include "agent/guest/kexec_file_load.h"

#include <fcntl.h>
#include <linux/kexec.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "agent/protocol/config.h"
#include "base/file.h"

namespace panicroom::agent {
namespace {

std::string_view what_mends(int error) {
  switch (error) {
    case EADDRNOTAVAIL:
    case ENOMEM:
      return "the capture kernel and its initramfs do not fit into the crash memory: raise machine.crashkernel";
    case ENOEXEC:
    case EINVAL:
      return "the kernel under test does not take this file for a bootable bzImage: choose another capture kernel";
    case EPERM:
      return "kexec is forbidden: take kexec_load_disabled and lockdown= off the kernel's command line";
    case EKEYREJECTED:
    case ENOKEY:
    case ENODATA:
    case EBADMSG:
      return "the kernel wants a signed capture kernel (CONFIG_KEXEC_SIG_FORCE or lockdown=)";
    case EBUSY:
      return "another kexec is going on";
    default:
      return "see the kernel's console for its reason";
  }
}

}  // namespace

Outcome<> load_by_kexec_file_load(const std::string& command_line, std::uint64_t crash_size) {
  const std::string kernel_path(kCaptureKernelPath);
  const std::string initrd_path(kCaptureInitrdPath);
  const UniqueFd kernel(open(kernel_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!kernel) return failure(v1::Failed::STAGE_CONFIG, errno, kernel_path + " is not in the initramfs");
  const UniqueFd initrd(open(initrd_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!initrd) return failure(v1::Failed::STAGE_CONFIG, errno, initrd_path + " is not in the initramfs");
  if (syscall(SYS_kexec_file_load, kernel.get(), initrd.get(), command_line.size() + 1, command_line.c_str(),
              static_cast<unsigned long>(KEXEC_FILE_ON_CRASH)) == 0) {
    return {};
  }
  const int error = errno;
  if (error == ENOSYS) {
    return failure(v1::Failed::STAGE_KEXEC_MISSING, error,
                   "this kernel has no kexec_file_load() (CONFIG_KEXEC_FILE): choose another, or machine.kexec: load");
  }
  return failure(v1::Failed::STAGE_KEXEC_LOAD, error,
                 fmt::format("kexec_file_load() with {} bytes of crash memory: {}: {}", crash_size,
                             std::strerror(error), what_mends(error)));
}

}  // namespace panicroom::agent
