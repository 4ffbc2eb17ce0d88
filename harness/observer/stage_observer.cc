#include "harness/observer/stage_observer.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace panicroom::harness {
namespace {

using hypervisor::BreakpointHit;
using hypervisor::Registers;

// struct pt_regs of x86-64 (arch/x86/include/asm/ptrace.h): 21 words, of which the CPU itself pushed the last five
// (Intel SDM Vol. 3A, 6.14.2).
constexpr std::size_t kPtRegsWords = 21;

using PtRegs = std::array<std::uint64_t, kPtRegsWords>;

Registers from_pt_regs(const PtRegs& words) {
  return {.rax = words[10],
          .rbx = words[5],
          .rcx = words[11],
          .rdx = words[12],
          .rsi = words[13],
          .rdi = words[14],
          .rbp = words[4],
          .rsp = words[19],
          .r8 = words[9],
          .r9 = words[8],
          .r10 = words[7],
          .r11 = words[6],
          .r12 = words[3],
          .r13 = words[2],
          .r14 = words[1],
          .r15 = words[0],
          .rip = words[16],
          .rflags = words[18],
          .cs = words[17],
          .ss = words[20]};
}

// What the kernel makes of them (ELF_CORE_COPY_REGS of arch/x86/include/asm/elf.h): pt_regs in the same order, then
// what the CPU has itself. The kernel's own GS base is in use, the task's is swapped out.
PrstatusRegisters to_prstatus(const PtRegs& words, const Registers& own) {
  PrstatusRegisters result{};
  std::ranges::copy(words, result.begin());
  const std::array<std::uint64_t, 6> rest = {own.fs_base, own.kernel_gs_base, own.ds, own.es, own.fs, own.gs};
  std::ranges::copy(rest, result.begin() + kPtRegsWords);
  return result;
}

constexpr std::size_t kMaxMoments = 64;
constexpr std::size_t kMaxMessage = 256;

v1::Stopped::How stop_of(StageKind kind) {
  switch (kind) {
    case StageKind::kStoppedByCrashNmi:
      return v1::Stopped::HOW_CRASH_NMI;
    case StageKind::kStoppedByNmi:
      return v1::Stopped::HOW_NMI;
    case StageKind::kStoppedByIrq:
      return v1::Stopped::HOW_IRQ;
    case StageKind::kStoppedItself:
      return v1::Stopped::HOW_ITSELF;
    default:
      return v1::Stopped::HOW_UNSPECIFIED;
  }
}

}  // namespace

bool holds(kernels::PointCondition condition, const Registers& registers) {
  switch (condition) {
    case kernels::PointCondition::kAlways:
      return true;
    case kernels::PointCondition::kZeroFlagSet:
      return (registers.rflags & hypervisor::kRflagsZf) != 0;
    case kernels::PointCondition::kEaxNonZero:
      return static_cast<std::uint32_t>(registers.rax) != 0;
    case kernels::PointCondition::kAlNonZero:
      return static_cast<std::uint8_t>(registers.rax) != 0;
  }
  return false;
}

StageObserver::StageObserver(hypervisor::Machine& machine, const Plan& plan, const RunningKernel& kernel,
                             Journal& journal)
    : machine_(machine), plan_(plan), kernel_(kernel), journal_(journal) {
  truth_.vcpus = machine.vcpus();
  truth_.kernel_release = kernel.image().release();
  truth_.slide = kernel.slide();
}

Result<> StageObserver::arm() {
  for (const PlannedStage& stage : plan_.stages) {
    for (const LinkAddress at : stage.place.at) {
      const auto id = TRY(machine_.add_breakpoint(kernel_.running(at), {}));
      watches_.emplace(id, Watch{stage.kind, stage.place.condition});
    }
  }
  for (std::uint32_t cpu = 0; cpu < machine_.vcpus(); ++cpu) {
    remember(VcpuId{cpu}, TRY(machine_.registers(VcpuId{cpu})), "armed");
  }
  return {};
}

Result<> StageObserver::disarm() {
  for (const auto& [id, watch] : watches_) TRY(machine_.remove_breakpoint(id));
  watches_.clear();
  return {};
}

void StageObserver::remember(VcpuId vcpu, const Registers& registers, std::string what) {
  auto& earlier = truth_.cpus[vcpu].earlier;
  if (earlier.size() < kMaxMoments) earlier.push_back({std::move(what), registers});
}

// The CPU has pushed SS, RSP, RFLAGS, CS and RIP (SDM Vol. 3A, 6.14.2), and nothing else has happened yet.
void StageObserver::record_nmi(VcpuId vcpu, Registers registers) {
  std::array<std::uint64_t, 5> frame{};
  if (!machine_.read_memory(vcpu, {registers.rsp}, std::as_writable_bytes(std::span(frame)))) return;
  // An NMI that interrupts the handling of another is put off by the kernel, which goes on with the registers of the
  // first: its stack is where this one's frame lies too.
  constexpr std::uint64_t kNmiStack = 8192;
  const std::uint64_t top = registers.rsp + sizeof(frame);
  if (frame[3] > top - kNmiStack && frame[3] <= top) return;
  registers.rip = frame[0];
  registers.cs = frame[1];
  registers.rflags = frame[2];
  registers.rsp = frame[3];
  registers.ss = frame[4];
  interrupted_[vcpu] = registers;
}

Result<> StageObserver::record_stop(VcpuId vcpu, const Registers& registers) {
  // crash_nmi_callback(unsigned int val, struct pt_regs *regs): the second argument is in RSI. A CPU that it stops
  // never leaves it; the CPU that jumps may pass it too if an NMI hits it.
  auto& cpu = truth_.cpus[vcpu];
  if (cpu.stopped_at) return {};
  if (const auto seen = interrupted_.find(vcpu); seen != interrupted_.end()) {
    cpu.stopped_at = seen->second;
  } else {
    PtRegs words{};
    TRY_CONTEXT("reading the registers that the crash NMI interrupted",
                machine_.read_memory(vcpu, {registers.rsi}, std::as_writable_bytes(std::span(words))));
    cpu.stopped_at = from_pt_regs(words);
  }
  const auto sender = journal_.last_sender(vcpu, true);
  cpu.stopped_by = sender ? fmt::format("the crash NMI, sent by CPU {}", *sender) : "the crash NMI";
  return {};
}

// __crash_kexec(struct pt_regs *regs): the registers of the oops that led here, or none.
Result<> StageObserver::record_crash_kexec(VcpuId vcpu, const Registers& registers) {
  if (registers.rdi == 0) return {};
  PtRegs words{};
  TRY_CONTEXT("reading the registers at the oops",
              machine_.read_memory(vcpu, {registers.rdi}, std::as_writable_bytes(std::span(words))));
  auto& cpu = truth_.cpus[vcpu];
  cpu.stopped_at = from_pt_regs(words);
  cpu.stopped_by = "its oops";
  return {};
}

// __crash_kexec() returns without a word if it does not get the lock, or if no crash kernel is loaded. The lock is an
// int since 5.19 and its stable backports, a mutex before, which begins with its owner.
void StageObserver::see_whether_skipped(VcpuId vcpu) {
  const auto word_at = [&](std::string_view symbol, std::size_t size) -> std::optional<std::uint64_t> {
    const auto found = kernel_.image().symbols().unique(symbol);
    std::uint64_t value = 0;
    if (!found) return std::nullopt;
    const auto into = std::as_writable_bytes(std::span(&value, 1)).first(size);
    if (!machine_.read_memory(vcpu, kernel_.running(found->address), into)) return std::nullopt;
    return value;
  };
  auto lock = word_at("__kexec_lock", sizeof(std::uint32_t));
  if (!lock) lock = word_at("kexec_mutex", sizeof(std::uint64_t));
  if (lock.value_or(0) != 0) {
    skipped_ = fmt::format("CPU {} found the kexec lock taken in __crash_kexec(), which then gives up silently", vcpu);
  } else if (word_at("kexec_crash_image", sizeof(std::uint64_t)) == 0) {
    skipped_ =
        fmt::format("CPU {} found no crash kernel loaded in __crash_kexec(), which then gives up silently", vcpu);
  } else {
    skipped_.clear();
  }
}

// crash_save_cpu(struct pt_regs *regs, int cpu).
Result<> StageObserver::record_saved(VcpuId vcpu, const Registers& registers) {
  PtRegs words{};
  TRY_CONTEXT("reading the registers that are to be saved",
              machine_.read_memory(vcpu, {registers.rdi}, std::as_writable_bytes(std::span(words))));
  truth_.cpus[vcpu].saved = to_prstatus(words, registers);
  return {};
}

std::string StageObserver::read_text(VcpuId vcpu, Gva at) {
  std::string text;
  // In small pieces: what follows the text need not be mapped.
  std::array<char, 16> piece{};
  while (text.size() < kMaxMessage) {
    if (!machine_.read_memory(vcpu, at, std::as_writable_bytes(std::span(piece)))) break;
    for (const char c : piece) {
      if (c == '\0' || c == '\n') return text;
      text += c;
    }
    at = at + piece.size();
  }
  return text;
}

// panic(const char *fmt, ...) or vpanic(const char *fmt, va_list args). Only "%s" alone is carried out.
void StageObserver::record_message(VcpuId vcpu, const Registers& registers) {
  const std::string format = read_text(vcpu, {registers.rdi});
  std::uint64_t argument = registers.rsi;
  if (kernel_.symbolise({registers.rip}).value_or("").starts_with("vpanic")) {
    // System V ABI, 3.5.7: gp_offset (32 bits), fp_offset, overflow_arg_area, reg_save_area.
    struct VaList {
      std::uint32_t gp_offset, fp_offset;
      std::uint64_t overflow_arg_area, reg_save_area;
    } list{};
    if (!machine_.read_memory(vcpu, {registers.rsi}, std::as_writable_bytes(std::span(&list, 1)))) return;
    const Gva at{list.reg_save_area + list.gp_offset};
    if (!machine_.read_memory(vcpu, at, std::as_writable_bytes(std::span(&argument, 1)))) return;
  }
  const std::string text = format == "%s" ? read_text(vcpu, {argument}) : format.substr(0, format.find('%'));
  const bool whole = (format == "%s" || text == format) && text.size() < kMaxMessage;
  messages_[vcpu] = {text, whole};
}

std::optional<PanicMessage> StageObserver::message() const {
  if (jumped_) return truth_.message;
  for (const auto& cpu : {resetter_, elected_}) {
    if (!cpu) continue;
    if (const auto said = messages_.find(*cpu); said != messages_.end()) return said->second;
  }
  return std::nullopt;
}

Result<> StageObserver::record_memory(const MemoryPlan& plan) {
  if (const auto said = messages_.find(truth_.owner.value_or(VcpuId{0})); said != messages_.end()) {
    truth_.message = said->second;
  }
  return harness::record_memory(machine_, kernel_, plan, truth_);
}

Result<bool> StageObserver::on_breakpoint(const BreakpointHit& hit, const Registers& registers) {
  const auto found = watches_.find(hit.id);
  if (found == watches_.end()) return false;
  if (!holds(found->second.condition, registers)) return true;
  const StageKind kind = found->second.kind;
  if (const auto how = stop_of(kind); how != v1::Stopped::HOW_UNSPECIFIED) {
    journal_.stopped(hit.vcpu, how);
  } else if (!name(kind).empty()) {
    journal_.stage(name(kind), hit.vcpu);
  }
  if (!name(kind).empty()) remember(hit.vcpu, registers, std::string(name(kind)));
  switch (kind) {
    case StageKind::kPanicEntered:
      crashing_ = true;
      record_message(hit.vcpu, registers);
      break;
    case StageKind::kOwnerElected:
      crashing_ = true;
      elected_ = hit.vcpu;
      break;
    case StageKind::kCrashKexec:
      crashing_ = true;
      TRY(record_crash_kexec(hit.vcpu, registers));
      see_whether_skipped(hit.vcpu);
      break;
    case StageKind::kNmiTaken:
      record_nmi(hit.vcpu, registers);
      break;
    case StageKind::kRegistersTakenDown: {
      // Only without an oops does crash_setup_regs() come this way.
      auto& cpu = truth_.cpus[hit.vcpu];
      cpu.stopped_at = registers;
      cpu.stopped_by = "itself, in __crash_kexec()";
      const auto& symbols = kernel_.image().symbols();
      const auto here = symbols.containing(unslide(hit.at, kernel_.slide()));
      if (const auto extent = here ? symbols.extent(here->symbol) : std::nullopt) {
        cpu.by_own_code = {kernel_.running(extent->begin), kernel_.running(extent->end)};
      }
      break;
    }
    case StageKind::kRegistersSaved:
      TRY(record_saved(hit.vcpu, registers));
      break;
    case StageKind::kStoppedByCrashNmi:
      TRY(record_stop(hit.vcpu, registers));
      break;
    case StageKind::kJump:
      jumped_ = true;
      truth_.owner = hit.vcpu;
      break;
    case StageKind::kResetBegun:
      reset_begun_ = true;
      resetter_ = hit.vcpu;
      break;
    case StageKind::kStoppedByNmi:
    case StageKind::kStoppedByIrq:
    case StageKind::kStoppedItself:
      break;
  }
  return true;
}

}  // namespace panicroom::harness
