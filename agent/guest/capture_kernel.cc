#include "agent/guest/capture_kernel.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "agent/guest/dump_saver.h"
#include "agent/guest/lent_memory.h"
#include "agent/guest/pseudo_files.h"
#include "agent/protocol/config.h"
#include "agent/protocol/sample_plan.h"
#include "agent/vmcore/block_reader.h"
#include "agent/vmcore/judge.h"
#include "base/file.h"

namespace panicroom::agent {
namespace {

// Of text in one message: well below a frame, and small enough that the host sees progress.
constexpr std::size_t kPartBytes = 16 * 1024;
constexpr int kSamplesInOne = 32;

class VmcoreFile : public vmcore::Reader {
 public:
  VmcoreFile(UniqueFd fd, std::uint64_t size) : fd_(std::move(fd)), size_(size) {}

  Result<> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    while (!out.empty()) {
      const ssize_t got = pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno_error(errno, fmt::format("reading {} bytes at {:#x}", out.size(), offset));
      if (got == 0) return invalid_input("the file ends at {:#x}, {} bytes too early", offset, out.size());
      offset += static_cast<std::uint64_t>(got);
      out = out.subspan(static_cast<std::size_t>(got));
    }
    return {};
  }
  [[nodiscard]] std::uint64_t size() const override { return size_; }

 private:
  UniqueFd fd_;
  std::uint64_t size_;
};

class FindingsSender : public vmcore::Findings {
 public:
  FindingsSender(Channel& channel, bool lend) : channel_(channel), lend_(lend) {}

  void check(const vmcore::Check& check) override {
    v1::Message message;
    auto& out = *message.mutable_check();
    out.set_name(std::string(check.name));
    out.set_ok(check.ok);
    out.set_expected(check.expected);
    out.set_actual(printable(check.actual));
    channel_.send(std::move(message));
  }

  void load(const vmcore::LoadSegment& segment) override {
    v1::Message message;
    message.mutable_load()->set_physical_address(segment.physical_address.value);
    message.mutable_load()->set_virtual_address(segment.virtual_address.value);
    message.mutable_load()->set_bytes(segment.file_bytes);
    channel_.send(std::move(message));
    ++loads_;
  }

  void sample(const vmcore::Sample& sample) override {
    v1::Sample& out = *samples_.mutable_samples()->add_samples();
    out = to_message(sample);
    out.set_unreadable(printable(sample.unreadable));
    if (samples_.samples().samples_size() == kSamplesInOne) send_samples();
  }

  // Those that wait for more of their kind.
  void send_samples() {
    if (samples_.samples().samples_size() > 0) channel_.send(std::move(samples_));
    samples_ = {};
  }

  [[nodiscard]] std::uint32_t loads() const { return loads_; }

  void prstatus(std::size_t index, const vmcore::Prstatus& status) override {
    using enum vmcore::Register;
    v1::Message message;
    auto& out = *message.mutable_prstatus();
    out.set_index(static_cast<std::uint32_t>(index));
    out.set_pid(status.pid);
    auto& registers = *out.mutable_registers();
    registers.set_r15(status[kR15]);
    registers.set_r14(status[kR14]);
    registers.set_r13(status[kR13]);
    registers.set_r12(status[kR12]);
    registers.set_rbp(status[kRbp]);
    registers.set_rbx(status[kRbx]);
    registers.set_r11(status[kR11]);
    registers.set_r10(status[kR10]);
    registers.set_r9(status[kR9]);
    registers.set_r8(status[kR8]);
    registers.set_rax(status[kRax]);
    registers.set_rcx(status[kRcx]);
    registers.set_rdx(status[kRdx]);
    registers.set_rsi(status[kRsi]);
    registers.set_rdi(status[kRdi]);
    registers.set_orig_rax(status[kOrigRax]);
    registers.set_rip(status[kRip]);
    registers.set_cs(status[kCs]);
    registers.set_rflags(status[kRflags]);
    registers.set_rsp(status[kRsp]);
    registers.set_ss(status[kSs]);
    registers.set_fs_base(status[kFsBase]);
    registers.set_gs_base(status[kGsBase]);
    registers.set_ds(status[kDs]);
    registers.set_es(status[kEs]);
    registers.set_fs(status[kFs]);
    registers.set_gs(status[kGs]);
    channel_.send(std::move(message));
  }

  void vmcoreinfo(std::string_view text) override {
    in_parts(text, [this](std::size_t offset, std::string_view part, bool last) {
      v1::Message message;
      auto& out = *message.mutable_vmcoreinfo();
      out.set_offset(offset);
      out.set_text(std::string(part));
      out.set_last(last);
      channel_.send(std::move(message));
    });
  }

  void dead_log(const vmcore::PrintkLog& log) override {
    if (lend_ && lend(log)) return;
    in_parts(log.text, [this, &log](std::size_t offset, std::string_view part, bool last) {
      v1::Message message;
      auto& out = *message.mutable_dead_log();
      out.set_offset(offset);
      out.set_text(std::string(part));
      out.set_last(last);
      out.set_omitted_records(log.omitted);
      channel_.send(std::move(message));
    });
  }

 private:
  template <typename Send>
  static void in_parts(std::string_view text, const Send& send) {
    std::size_t offset = 0;
    do {
      const std::string_view part = text.substr(offset, kPartBytes);
      const bool last = offset + part.size() == text.size();
      send(offset, part, last);
      offset += part.size();
    } while (offset < text.size());
  }

  // False if it cannot be lent.
  bool lend(const vmcore::PrintkLog& log) {
    const auto memory = LentMemory::create(log.text.size());
    if (!memory) return false;
    std::ranges::copy(as_bytes(log.text), memory->bytes().begin());
    v1::Message message;
    auto& out = *message.mutable_dead_log();
    out.set_last(true);
    out.set_omitted_records(log.omitted);
    memory->lend(log.text.size(), *out.mutable_lent());
    channel_.send(std::move(message));
    return true;
  }

  // protobuf's string fields must be UTF-8, and a damaged vmcoreinfo need not be.
  static std::string printable(std::string text) {
    std::ranges::replace_if(
        text, [](unsigned char c) { return c < 0x20 || c > 0x7e; }, '?');
    return text;
  }

  Channel& channel_;
  bool lend_;
  std::uint32_t loads_ = 0;
  v1::Message samples_;
};

// The value of a parameter on this kernel's command line: "panicroom.cpus=" gives what stands behind it.
std::optional<std::string> parameter(std::string_view name) {
  const auto line = read_small_file("/proc/cmdline");
  if (!line) return std::nullopt;
  const std::size_t at = line->rfind(name);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t begin = at + name.size();
  return line->substr(begin, line->find_first_of(" \n", begin) - begin);
}

std::optional<std::uint32_t> number_parameter(std::string_view name) {
  const auto text = parameter(name);
  if (!text) return std::nullopt;
  std::uint32_t number = 0;
  std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

Outcome<vmcore::SamplePlan> read_sample_plan() {
  const auto bytes = read_file(std::string(kSamplePlanPath));
  if (!bytes) return failure(v1::Failed::STAGE_CONFIG, 0, bytes.error().message());
  auto plan = decode_sample_plan(*bytes);
  if (!plan) return failure(v1::Failed::STAGE_CONFIG, 0, plan.error().message());
  return *std::move(plan);
}

}  // namespace

bool is_capture_kernel() { return access(kVmcorePath, F_OK) == 0 || number_parameter(kCpusParameter).has_value(); }

std::uint32_t expected_cpus() { return number_parameter(kCpusParameter).value_or(0); }

Outcome<> run_capture_kernel(Channel& channel) {
  UniqueFd fd(open(kVmcorePath, O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0) {
    const int error = errno;
    return failure(
        v1::Failed::STAGE_VMCORE_OPEN, error,
        fmt::format("{}: {} (a capture kernel needs CONFIG_PROC_VMCORE, and the first kernel's ELF core header intact; "
                    "see the console)",
                    kVmcorePath, std::strerror(error)));
  }
  const VmcoreFile file(std::move(fd), static_cast<std::uint64_t>(status.st_size));
  v1::Message opened;
  opened.mutable_vmcore_opened()->set_size(file.size());
  channel.send(std::move(opened));

  FindingsSender findings(channel, parameter(kLendParameter).has_value());
  vmcore::JudgeOptions options;
  options.expected_cpus = expected_cpus();
  auto samples = read_sample_plan();
  if (!samples) return tl::unexpected(samples.error());
  options.samples = *std::move(samples);
  options.workload_pages = parse_pages(parameter(kPagesParameter).value_or(""));
  const vmcore::Verdict verdict = vmcore::judge(vmcore::BlockReader(file), options, findings);

  findings.send_samples();
  if (const auto level = number_parameter(kSaveParameter)) {
    if (const auto saved = save_dump(channel, *level); !saved) return saved;
  }

  v1::Message message;
  auto& judged = *message.mutable_judged();
  judged.set_checks_passed(static_cast<std::uint32_t>(verdict.checks_passed));
  judged.set_checks_failed(static_cast<std::uint32_t>(verdict.checks_failed));
  judged.set_cpus_with_registers(static_cast<std::uint32_t>(verdict.cpus_with_registers));
  judged.set_cpus_expected(static_cast<std::uint32_t>(options.expected_cpus));
  judged.set_load_bytes(verdict.load_bytes);
  judged.set_log_records(static_cast<std::uint32_t>(verdict.log_records));
  judged.set_log_records_unreadable(static_cast<std::uint32_t>(verdict.log_records_unreadable));
  judged.set_loads(findings.loads());
  judged.set_samples(static_cast<std::uint32_t>(verdict.samples));
  channel.send(std::move(message));
  return {};
}

}  // namespace panicroom::agent
