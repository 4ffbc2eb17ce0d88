// A target description for the tests of this folder: the registers of qemu-system-x86_64 7.2 with a few others between
// them.
#pragma once

#include <string>
#include <string_view>

namespace panicroom::rsp {

inline constexpr std::string_view kTestTarget =
    R"(<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">)"
    R"(<target><architecture>i386:x86-64</architecture><xi:include href="core.xml"/></target>)";

inline std::string test_core() {
  std::string xml = "<?xml version=\"1.0\"?><!DOCTYPE feature SYSTEM \"gdb-target.dtd\"><feature name=\"core\">";
  const auto add = [&xml](std::string_view names, int bits) {
    while (!names.empty()) {
      const auto end = names.find(' ');
      xml += "<reg name=\"" + std::string(names.substr(0, end)) + "\" bitsize=\"" + std::to_string(bits) + "\"/>";
      names.remove_prefix(end == std::string_view::npos ? names.size() : end + 1);
    }
  };
  add("rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip", 64);
  add("eflags cs ss ds es fs gs", 32);
  add("fs_base gs_base k_gs_base cr0 cr2 cr3 cr4 cr8 efer", 64);
  add("st0", 80);
  add("xmm0", 128);
  add("mxcsr", 32);
  return xml + "</feature>";
}

// Bytes of a `g` reply with these registers: seventeen, seven and nine of them, then the three others.
inline constexpr std::size_t kTestRegisterBytes = 17 * 8 + 7 * 4 + 9 * 8 + 10 + 16 + 4;

}  // namespace panicroom::rsp
