// The VMCOREINFO note: lines of KEY=VALUE by which a kernel tells crash tools its layout.
// See Linux's Documentation/admin-guide/kdump/vmcoreinfo.rst for the keys.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/vmcore/elf_core.h"

namespace panicroom::vmcore {

// What is read of a note; the kernel's is at most a page.
inline constexpr std::size_t kMaxVmcoreinfoBytes = 64UL * 1024;

class Vmcoreinfo {
 public:
  // Lines that are not KEY=VALUE are skipped; of a key that comes twice, the last holds, as for the kernel's own
  // readers.
  explicit Vmcoreinfo(std::string_view text);

  // The value of a line KEY=VALUE.
  [[nodiscard]] std::optional<std::string_view> value(std::string_view key) const;
  // SYMBOL(name)= (hexadecimal), OFFSET(name)=, SIZE(name)=, LENGTH(name)=, NUMBER(name)= (decimal). Nothing if the
  // line is absent or its value is not wholly a number.
  [[nodiscard]] std::optional<Gva> symbol(std::string_view name) const;
  [[nodiscard]] std::optional<std::uint64_t> offset(std::string_view name) const;
  [[nodiscard]] std::optional<std::uint64_t> size(std::string_view name) const;
  [[nodiscard]] std::optional<std::uint64_t> length(std::string_view name) const;
  [[nodiscard]] std::optional<std::int64_t> number(std::string_view name) const;
  // KERNELOFFSET=, hexadecimal: how far KASLR moved the kernel.
  [[nodiscard]] std::optional<KaslrSlide> kernel_offset() const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

// The text of the (first) VMCOREINFO note, cut at its first zero byte and at kMaxVmcoreinfoBytes.
std::optional<std::string> find_vmcoreinfo(const std::vector<Note>& notes);

}  // namespace panicroom::vmcore
