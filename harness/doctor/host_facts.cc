#include "harness/doctor/host_facts.h"

#include <dlfcn.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/file.h"

namespace panicroom::harness {
namespace {

struct LibraryClose {
  void operator()(void* library) const { ::dlclose(library); }
};

// Loaded, not linked: so that the doctor itself starts where libvirt is what is missing.
LibvirtProbe probe_libvirt() {
  LibvirtProbe probe;
  const std::unique_ptr<void, LibraryClose> library(::dlopen("libvirt.so.0", RTLD_LAZY | RTLD_LOCAL));
  if (library == nullptr) return probe;
  // Asking for the version initialises libvirt, and with that its log, which goes to the standard error if it is not
  // told otherwise. What goes wrong is told by its calls.
  ::setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 0);
  using GetVersion = int (*)(unsigned long*, const char*, unsigned long*);
  const auto get_version = reinterpret_cast<GetVersion>(::dlsym(library.get(), "virGetVersion"));
  unsigned long number = 0;
  if (get_version == nullptr || get_version(&number, nullptr, nullptr) != 0) return probe;
  probe.version = libvirt_version(number);
  for (const char* folder : {"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"}) {
    std::error_code error;
    const auto driver = std::filesystem::path(folder) / "libvirt/connection-driver/libvirt_driver_qemu.so";
    probe.qemu_driver = probe.qemu_driver || std::filesystem::exists(driver, error);
  }
  return probe;
}

std::uint64_t number_in(const std::filesystem::path& file) {
  const auto text = read_text_file(file);
  std::uint64_t number = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

}  // namespace

std::string cpu_model_in(std::string_view cpuinfo) {
  constexpr std::string_view kKey = "model name";
  while (!cpuinfo.empty()) {
    const auto line = cpuinfo.substr(0, cpuinfo.find('\n'));
    cpuinfo.remove_prefix(std::min(line.size() + 1, cpuinfo.size()));
    const auto colon = line.find(": ");
    if (line.starts_with(kKey) && colon != std::string_view::npos) return std::string(line.substr(colon + 2));
  }
  return {};
}

std::string libvirt_version(unsigned long number) {
  return fmt::format("{}.{}.{}", number / 1'000'000, number / 1'000 % 1'000, number % 1'000);
}

void read_host_facts(HostFindings& findings) {
  utsname names = {};
  if (::uname(&names) == 0) {
    findings.name = names.nodename;
    findings.kernel_release = names.release;
  }
  const auto cpuinfo = read_text_file("/proc/cpuinfo");
  if (cpuinfo) findings.cpu_model = cpu_model_in(*cpuinfo);
  findings.cpus = static_cast<std::uint32_t>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 0L));
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_size = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_size > 0) {
    findings.memory_bytes = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_size);
  }
  findings.crash_kernel_bytes = number_in("/sys/kernel/kexec_crash_size");
  findings.qemu_img_version = qemu_program_version("qemu-img");
  findings.libvirt = probe_libvirt();
}

}  // namespace panicroom::harness
