#include "kernels/packages/kernel_ref.h"

#include <algorithm>
#include <sstream>

#include "base/file.h"

namespace panicroom::kernels {
namespace {

constexpr std::string_view kForms =
    "a kernel is named by host, by the path of a bzImage, vmlinux, folder, .deb or .rpm (PATH or PATH:modules=DIR), by "
    "debian:SUITE/FLAVOUR "
    "such as debian:trixie/cloud-amd64, or by debian:RELEASE such as debian:6.1.0-50-rt-amd64";
constexpr std::size_t kMaxNameLength = 100;

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

bool consists_of(std::string_view text, std::string_view punctuation, bool upper_case) {
  return !text.empty() && text.size() <= kMaxNameLength && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_lower(c) || is_digit(c) || (upper_case && is_upper(c)) || punctuation.find(c) != std::string_view::npos;
  });
}

std::string_view unquoted(std::string_view value) {
  if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front()) {
    return value.substr(1, value.size() - 2);
  }
  return value;
}

Result<KernelRef::Target> parse_debian(std::string_view text, std::string_view name) {
  const auto slash = name.find('/');
  if (slash == std::string_view::npos) {
    if (!name.empty() && is_digit(name.front()) && is_release_name(name)) {
      return KernelRef::Target(DebianReleaseKernel{std::string(name)});
    }
    return invalid_input("{}: '{}' is neither SUITE/FLAVOUR nor a kernel release; {}", text, name, kForms);
  }
  const auto suite = name.substr(0, slash);
  const auto flavour = name.substr(slash + 1);
  if (!is_suite_name(suite))
    return invalid_input("{}: '{}' is not the name of a Debian suite; {}", text, suite, kForms);
  if (!is_suite_name(flavour)) return invalid_input("{}: '{}' is not a kernel flavour; {}", text, flavour, kForms);
  return KernelRef::Target(DebianSuiteKernel{std::string(suite), std::string(flavour)});
}

}  // namespace

bool is_suite_name(std::string_view text) { return consists_of(text, "-", false) && is_lower(text.front()); }

bool is_release_name(std::string_view text) {
  return consists_of(text, "-+.~", true) && (is_digit(text.front()) || is_lower(text.front()));
}

bool is_package_version(std::string_view text) { return consists_of(text, "-+.~:", true) && is_digit(text.front()); }

Result<KernelRef> KernelRef::parse(std::string_view text) {
  constexpr std::string_view kDebian = "debian:";
  constexpr std::string_view kModules = ":modules=";
  if (text.empty()) return invalid_input("the kernel's name is empty; {}", kForms);
  if (text.find('\0') != std::string_view::npos) return invalid_input("a kernel's name has a NUL byte; {}", kForms);
  if (text == "host") return KernelRef(HostKernel{}, std::string(text));
  if (text.starts_with(kDebian)) {
    return KernelRef(TRY(parse_debian(text, text.substr(kDebian.size()))), std::string(text));
  }
  KernelFile file;
  const auto modules = text.find(kModules);
  file.image = text.substr(0, modules);
  if (modules != std::string_view::npos) {
    file.modules = text.substr(modules + kModules.size());
    if (file.modules.empty()) return invalid_input("{}: no folder stands after :modules=; {}", text, kForms);
  }
  if (file.image.empty()) return invalid_input("{}: no file stands before :modules=; {}", text, kForms);
  return KernelRef(std::move(file), std::string(text));
}

Result<std::string> debian_suite(std::string_view os_release) {
  std::string id;
  std::string codename;
  std::istringstream lines{std::string(os_release)};
  for (std::string line; std::getline(lines, line);) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const auto key = std::string_view(line).substr(0, equals);
    const auto value = unquoted(std::string_view(line).substr(equals + 1));
    if (key == "ID") id = value;
    if (key == "VERSION_CODENAME") codename = value;
  }
  if (id != "debian") {
    return unsupported("this host is not Debian (ID={}), so there is no default kernel: name one; {}",
                       id.empty() ? "unset" : id, kForms);
  }
  if (!is_suite_name(codename)) {
    return unsupported("/etc/os-release names no Debian suite (VERSION_CODENAME='{}'): name a kernel; {}", codename,
                       kForms);
  }
  return codename;
}

Result<KernelRef> default_reference(const std::filesystem::path& os_release) {
  const auto text = TRY(read_text_file(os_release));
  const auto suite = TRY(debian_suite(text));
  return KernelRef::parse("debian:" + suite + "/cloud-amd64");
}

}  // namespace panicroom::kernels
