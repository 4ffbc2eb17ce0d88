// panicroom_dump_facts FILE [ADDRESS...]: what libkdumpfile finds in a dump, as JSON on standard output: its format,
// the kernel's release, each CPU's registers, and the checksums of the pages at those guest-physical addresses
// (hexadecimal). Exits with 1, and a sentence on standard error, if the file cannot be opened as a dump.
#include <fcntl.h>
#include <fmt/format.h>
#include <libkdumpfile/kdumpfile.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "agent/vmcore/samples.h"
#include "base/file.h"

namespace panicroom {
namespace {

using nlohmann::json;

// More than the NR_CPUS of any x86 kernel.
constexpr std::uint64_t kMostCpus = 8192;
// struct user_regs_struct of x86-64, by libkdumpfile's names for it.
constexpr std::array kRegisterNames = {"r15",    "r14", "r13", "r12",     "rbp",     "rbx", "r11",      "r10", "r9",
                                       "r8",     "rax", "rcx", "rdx",     "rsi",     "rdi", "orig_rax", "rip", "cs",
                                       "rflags", "rsp", "ss",  "fs_base", "gs_base", "ds",  "es",       "fs",  "gs"};

using Context = std::unique_ptr<kdump_ctx_t, decltype(&kdump_free)>;

json cpus(kdump_ctx_t* context) {
  json result = json::array();
  kdump_num_t count = 0;
  if (kdump_get_number_attr(context, KDUMP_ATTR_NUM_CPUS, &count) != KDUMP_OK) return result;
  for (kdump_num_t cpu = 0; cpu < std::min<kdump_num_t>(count, kMostCpus); ++cpu) {
    json registers = json::object();
    for (const char* name : kRegisterNames) {
      kdump_num_t value = 0;
      if (kdump_get_number_attr(context, fmt::format("cpu.{}.reg.{}", cpu, name).c_str(), &value) == KDUMP_OK) {
        registers[name] = value;
      }
    }
    result.push_back(std::move(registers));
  }
  return result;
}

// Null if the dump does not have the page.
json page(kdump_ctx_t* context, std::uint64_t address) {
  std::vector<std::byte> bytes(vmcore::kPageBytes);
  std::size_t length = bytes.size();
  if (kdump_read(context, KDUMP_MACHPHYSADDR, address, bytes.data(), &length) != KDUMP_OK) return nullptr;
  return vmcore::block_checksums(bytes);
}

std::string text(kdump_ctx_t* context, const char* attribute) {
  const char* value = nullptr;
  return kdump_get_string_attr(context, attribute, &value) == KDUMP_OK && value != nullptr ? value : "";
}

int run(std::span<char*> arguments) {
  const UniqueFd file(::open(arguments[1], O_RDONLY | O_CLOEXEC));
  if (!file) {
    fmt::print(stderr, "{} cannot be opened\n", arguments[1]);
    return 1;
  }
  const Context context(kdump_new(), &kdump_free);
  if (!context || kdump_open_fd(context.get(), file.get()) != KDUMP_OK) {
    fmt::print(stderr, "{}\n", context ? kdump_get_err(context.get()) : "out of memory");
    return 1;
  }
  json pages = json::array();
  for (const std::string_view argument : arguments.subspan(2)) {
    std::uint64_t address = 0;
    const auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), address, 16);
    if (error != std::errc() || end != argument.data() + argument.size()) {
      fmt::print(stderr, "{} is no hexadecimal address\n", argument);
      return 1;
    }
    pages.push_back(page(context.get(), address));
  }
  const json facts = {{"format", text(context.get(), KDUMP_ATTR_FILE_FORMAT)},
                      {"release", text(context.get(), "linux.uts.release")},
                      {"cpus", cpus(context.get())},
                      {"pages", std::move(pages)}};
  fmt::print("{}\n", facts.dump(-1, ' ', true, json::error_handler_t::replace));
  return 0;
}

}  // namespace
}  // namespace panicroom

int main(int argc, char** argv) {
  try {
    const std::span arguments(argv, static_cast<std::size_t>(argc));
    if (arguments.size() < 2) {
      fmt::print(stderr, "usage: {} FILE [ADDRESS...]\n", arguments[0]);
      return 1;
    }
    return panicroom::run(arguments);
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "%s\n", exception.what());
    return 1;
  }
}
