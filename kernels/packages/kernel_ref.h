// Kernel references: how a command line or a request names a kernel. Only the text is looked at here; kernel_store.h
// finds or fetches what it names.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/result.h"

namespace panicroom::kernels {

// "host": the newest kernel in /boot.
struct HostKernel {
  bool operator==(const HostKernel&) const = default;
};

// "PATH" or "PATH:modules=DIR": a bzImage or vmlinux, a folder with one, or a package (.deb, .rpm) with one.
struct KernelFile {
  std::filesystem::path image;    // Or the folder, or the package.
  std::filesystem::path modules;  // Empty: none named.
  bool operator==(const KernelFile&) const = default;
};

// "debian:SUITE/FLAVOUR": the newest kernel of a flavour in a suite, with the suite's -updates and -security. As in
// apt, backports are not part of a suite but a suite of their own: "debian:trixie-backports/amd64".
struct DebianSuiteKernel {
  std::string suite;    // A codename or an alias such as "stable".
  std::string flavour;  // "amd64", "cloud-amd64", "rt-amd64".
  bool operator==(const DebianSuiteKernel&) const = default;
};

// "debian:RELEASE": the kernel with exactly this uname -r, in whichever suite has it.
struct DebianReleaseKernel {
  std::string release;
  bool operator==(const DebianReleaseKernel&) const = default;
};

class KernelRef {
 public:
  using Target = std::variant<HostKernel, KernelFile, DebianSuiteKernel, DebianReleaseKernel>;

  // kInvalidInput, naming the accepted forms, if the text is none of them.
  static Result<KernelRef> parse(std::string_view text);

  [[nodiscard]] const Target& target() const { return target_; }
  // As the user wrote it.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  KernelRef(Target target, std::string text) : target_(std::move(target)), text_(std::move(text)) {}

  Target target_;
  std::string text_;
};

// The codename in the text of an os-release(5) file, such as "bookworm". kUnsupported if it is not Debian's.
Result<std::string> debian_suite(std::string_view os_release);

// What is meant when no kernel is named: the host's own Debian suite, cloud-amd64. kUnsupported on other distributions.
Result<KernelRef> default_reference(const std::filesystem::path& os_release = "/etc/os-release");

// True for what can be a Debian suite (or flavour), a kernel release, a Debian package version: non-empty, short, of
// the characters that those have, so safe as a path component and on apt's command line.
bool is_suite_name(std::string_view text);
bool is_release_name(std::string_view text);
bool is_package_version(std::string_view text);

}  // namespace panicroom::kernels
