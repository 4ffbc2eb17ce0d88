#include "harness/saved_dump/saved_dump.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/util/time_util.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/subprocess.h"
#include "harness/observer/log_check.h"
#include "harness/observer/register_check.h"
#include "harness/saved_dump/dump_facts_reader.h"

namespace panicroom::harness {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostSaid = 600;
constexpr std::uintmax_t kMostLog = 64U << 20;
// Where the kernel's image is mapped (__START_KERNEL_map, arch/x86/include/asm/page_64_types.h), 1 GiB at most.
constexpr std::uint64_t kKernelMap = 0xffffffff80000000;
constexpr std::uint64_t kKernelMapBytes = 1U << 30;

// The guest's or a program's words: one line, printable.
std::string said(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  std::string line(text.substr(text.size() - std::min(text.size(), kMostSaid)));
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c > 0x7e; }, ' ');
  return line;
}

void add_check(SavedDump::Finding& finding, std::string name, bool ok, std::string expected, std::string actual) {
  if (!ok) finding.trouble += fmt::format("{}{}", finding.trouble.empty() ? "" : ", ", name);
  auto& check = finding.checks.emplace_back();
  check.set_name(std::move(name));
  check.set_ok(ok);
  check.set_expected(std::move(expected));
  check.set_actual(std::move(actual));
}

// A page of the kernel's image that is compared, and where it is in physical memory.
struct Page {
  const vmcore::Sample* sample;
  Gpa at;
  bool may_be_freed;  // A kernel gives back the memory of what it needs only to boot, and free memory is left out.
};

// Code and constants, and what no CPU wrote after the jump if every CPU had been stopped. Of these, makedumpfile leaves
// out what is free and what holds nothing but zeros.
std::vector<Page> pages_of(const CrashTruth& truth) {
  std::vector<Page> pages;
  if (!truth.phys_base) return pages;
  const bool all_stopped = truth.not_stopped().empty();
  for (const auto& [sample, constant, must_be_there] : truth.samples) {
    const bool of_image = sample.kind == vmcore::SampleKind::kKernel || sample.kind == vmcore::SampleKind::kLogBuffer;
    if (!of_image || !(constant || all_stopped) || sample.blocks.empty()) continue;
    if (sample.bytes != vmcore::kPageBytes || sample.address - kKernelMap >= kKernelMapBytes) continue;
    pages.push_back({&sample, Gpa{sample.address - kKernelMap + static_cast<std::uint64_t>(*truth.phys_base)},
                     sample.kind == vmcore::SampleKind::kKernel && !constant});
  }
  return pages;
}

bool is_zero_page(const vmcore::Sample& sample) {
  static const auto kZeros = vmcore::block_checksums(std::vector<std::byte>(vmcore::kPageBytes));
  return sample.blocks == kZeros;
}

std::string writer_version() {
  const auto version = run_process({"makedumpfile", "-v"});
  if (!version) return "makedumpfile";
  return said(version->out.substr(0, version->out.find('\n')));
}

}  // namespace

SavedDump::SavedDump(fs::path folder) : folder_(std::move(folder)) {}

Result<> SavedDump::add(std::uint64_t offset, Bytes part) {
  if (offset != bytes_ || part.size() > kMostBytes - bytes_) {
    return host_error("a part of the dump, {} bytes at {}, does not follow the {} before it", part.size(), offset,
                      bytes_);
  }
  if (!file_) {
    file_ = UniqueFd(::open(flat().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file_) return errno_error(errno, flat().native());
  }
  while (!part.empty()) {
    const ssize_t written = ::write(file_.get(), part.data(), part.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno_error(errno, fmt::format("writing {}", flat().native()));
    part = part.subspan(static_cast<std::size_t>(written));
    bytes_ += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<SavedDump::Finding> SavedDump::finish(const agent::v1::DumpSaved& end, const CrashTruth& truth) {
  file_.reset();
  if (end.bytes() != bytes_) {
    return host_error("makedumpfile wrote {} bytes of the dump, but {} arrived", end.bytes(), bytes_);
  }
  Finding finding;
  finding.saved.set_writer(writer_version());
  *finding.saved.mutable_took() = google::protobuf::util::TimeUtil::NanosecondsToDuration(
      static_cast<std::int64_t>(std::min<std::uint64_t>(end.took(), INT64_MAX)));
  const bool good = end.exit_status() == 0 && bytes_ > 0;
  add_check(finding, "saved dump: makedumpfile", good, "exit status 0",
            good ? fmt::format("exit status 0, {} bytes in its flattened format", bytes_)
                 : fmt::format("exit status {}, {} bytes: {}", end.exit_status(), bytes_, said(end.said())));
  if (good) TRY(put_together(finding));
  std::error_code ignored;
  fs::remove(flat(), ignored);
  if (finding.trouble.empty()) TRY(compare(truth, finding));
  if (finding.trouble.empty()) TRY(compare_log(truth, finding));
  return finding;
}

Result<> SavedDump::put_together(Finding& finding) const {
  const fs::path file = folder_ / kFile;
  std::error_code error;
  fs::remove(file, error);
  const auto put = TRY_CONTEXT("package makedumpfile", run_process({"makedumpfile", "-R", file.native()}, {}, flat()));
  const auto size = fs::file_size(file, error);
  const bool good = put.exit_status == 0 && !error;
  add_check(finding, "saved dump: file", good, "makedumpfile -R puts it together",
            good ? fmt::format("{} bytes", size)
                 : fmt::format("exit status {}: {}", put.exit_status, said(put.err + put.out)));
  if (!good) return {};
  finding.saved.set_file(std::string(kFile));
  finding.saved.set_bytes(size);
  return {};
}

Result<> SavedDump::compare(const CrashTruth& truth, Finding& finding) const {
  const auto pages = pages_of(truth);
  std::vector<std::string> command = {PANICROOM_DUMP_FACTS, (folder_ / kFile).native()};
  for (const auto& page : pages) command.push_back(fmt::format("{:x}", page.at.value));
  const auto ran = TRY(run_process(command));
  if (ran.exit_status != 0) {
    add_check(finding, "saved dump: opened", false, "libkdumpfile opens it",
              fmt::format("exit status {}: {}", ran.exit_status, said(ran.err)));
    return {};
  }
  const auto facts = TRY(parse_dump_facts(ran.out, pages.size()));
  finding.saved.set_format(said(facts.format));
  add_check(finding, "saved dump: opened", true, "libkdumpfile opens it", said(facts.format));
  add_check(finding, "saved dump: release", facts.release == truth.kernel_release, truth.kernel_release,
            said(facts.release));
  const auto not_stopped = truth.not_stopped();
  for (const RegisterFinding& cpu : check_registers(facts.cpus, truth)) {
    // The vmcore has none either, which has been told.
    if (std::ranges::find(not_stopped, cpu.cpu) != not_stopped.end()) continue;
    add_check(finding, fmt::format("saved dump: registers of CPU {}", cpu.cpu), cpu.state == RegisterState::kTrue,
              cpu.expected, cpu.actual);
  }
  std::vector<std::string> different;
  std::size_t left_out = 0;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const bool may_be_absent = pages[i].may_be_freed || is_zero_page(*pages[i].sample);
    if (!facts.pages[i] && may_be_absent) {
      ++left_out;
    } else if (facts.pages[i] != pages[i].sample->blocks) {
      different.push_back(fmt::format("{:#x}{}", pages[i].sample->address, facts.pages[i] ? "" : " (absent)"));
    }
  }
  add_check(finding, "saved dump: memory", different.empty() && left_out < pages.size(),
            fmt::format("{} pages of the kernel as the machine had them", pages.size()),
            different.empty()
                ? fmt::format("{} of them; {} are empty or free, and left out", pages.size() - left_out, left_out)
                : fmt::format("different: {}", fmt::join(different, ", ")));
  return {};
}

Result<> SavedDump::compare_log(const CrashTruth& truth, Finding& finding) const {
  const fs::path file = folder_ / "dmesg";
  std::error_code error;
  fs::remove(file, error);
  const auto ran = TRY_CONTEXT(
      "package makedumpfile", run_process({"makedumpfile", "--dump-dmesg", (folder_ / kFile).native(), file.native()}));
  const auto size = fs::file_size(file, error);
  if (ran.exit_status != 0 || error || size > kMostLog) {
    add_check(finding, "saved dump: log", false, "makedumpfile --dump-dmesg finds it",
              fmt::format("exit status {}: {}", ran.exit_status, said(ran.err + ran.out)));
    return {};
  }
  const auto log = TRY(read_text_file(file));
  add_check(finding, "saved dump: log", find_crash_in_log(log, truth.message).has_value(),
            truth.message ? fmt::format("\"{}\"", truth.message->text) : "an oops",
            fmt::format("{} bytes, {}", log.size(), truth.message ? panics_in_log(log) : "no panic expected"));
  return {};
}

}  // namespace panicroom::harness
