#include "harness/plan/plan.h"

#include <algorithm>
#include <array>

#include "agent/protocol/workloads.h"

namespace panicroom::harness {
namespace {

using kernels::KernelImage;
using kernels::NamedPoint;
using kernels::PointSpec;
using kernels::SymbolPoint;

Result<PlannedPlace> place_of(const KernelImage& kernel, const PointSpec& spec) {
  auto resolved = TRY(kernels::resolve(kernel, spec));
  return PlannedPlace{std::move(resolved.at), resolved.condition};
}

Result<PlannedPlace> place_of_symbol(const KernelImage& kernel, std::string_view symbol) {
  return place_of(kernel, PointSpec{SymbolPoint{std::string(symbol), 0}, std::string(symbol)});
}

Result<PlannedPlace> place_of_name(const KernelImage& kernel, std::string_view point) {
  return place_of(kernel, PointSpec{NamedPoint{std::string(point)}, std::string(point)});
}

struct StagePoint {
  StageKind kind;
  std::string_view point;
  bool required;
};
// A stage that is not required is left out on kernels that have no such place; its absence never makes a verdict.
constexpr std::array kStagePoints = {
    StagePoint{StageKind::kPanicEntered, "panic/entry", true},
    StagePoint{StageKind::kOwnerElected, "panic/won", false},
    StagePoint{StageKind::kOwnerElected, "nmi_panic/won", false},
    StagePoint{StageKind::kOwnerElected, "crash_kexec/won", false},
    StagePoint{StageKind::kStoppedByCrashNmi, "crash-stop/nmi", true},
    StagePoint{StageKind::kStoppedByNmi, "stop/nmi", false},
    StagePoint{StageKind::kStoppedByIrq, "stop/irq", false},
    StagePoint{StageKind::kStoppedItself, "stop/self", false},
    // The breakpoints must be gone before the capture kernel runs, whose code lies at addresses of its own.
    StagePoint{StageKind::kJump, "kexec/jump", true},
    StagePoint{StageKind::kResetBegun, "reset", false},
};

Result<> check_requirements(const Requirements& requirements, const KernelImage& kernel) {
  const auto version = version_of(kernel.release());
  const auto& [at_least, below] = requirements.kernel;
  if (at_least && version < version_of(*at_least)) {
    return unsupported("the scenario requires a kernel >= {}, and this is {}", *at_least, kernel.release());
  }
  if (below && version >= version_of(*below)) {
    return unsupported("the scenario requires a kernel < {}, and this is {}", *below, kernel.release());
  }
  for (const auto& symbol : requirements.symbols) {
    if (kernel.symbols().find(symbol).empty()) {
      return unsupported("the scenario requires the symbol {}, which {} does not have", symbol, kernel.release());
    }
  }
  return {};
}

}  // namespace

std::string_view name(StageKind kind) {
  switch (kind) {
    case StageKind::kPanicEntered:
      return "panic-entered";
    case StageKind::kOwnerElected:
      return "owner-elected";
    case StageKind::kCrashKexec:
      return "crash-kexec";
    case StageKind::kStoppedByCrashNmi:
      return "stopped-by-crash-nmi";
    case StageKind::kStoppedByNmi:
      return "stopped-by-nmi";
    case StageKind::kStoppedByIrq:
      return "stopped-by-irq";
    case StageKind::kStoppedItself:
      return "stopped-itself";
    case StageKind::kJump:
      return "jump";
    case StageKind::kResetBegun:
      return "reset-begun";
    case StageKind::kNmiTaken:
    case StageKind::kRegistersTakenDown:
    case StageKind::kRegistersSaved:
      return {};
  }
  return "unknown";
}

namespace {

// What no scenario states, but every run needs: a kernel without it is not one that panicroom can judge, which is no
// reason to call the scenario skipped.
template <typename T>
Result<T> needed(Result<T> result) {
  if (result || result.error().kind() != ErrorKind::kUnsupported) return result;
  return host_error("panicroom cannot find its way in this kernel: {}", result.error().message());
}

bool uses_pause_loop(const Scenario& scenario) {
  return std::ranges::any_of(scenario.timeline,
                             [](const Step& step) { return std::holds_alternative<DoSpin>(step.action); });
}

// So that a symbol that is not there is known before anything boots.
Result<> check_memory_symbols(const Step& step, const KernelImage& kernel) {
  const auto* set = std::get_if<DoSet>(&step.action);
  if (set == nullptr) return {};
  for (const auto& value : set->values) {
    const auto* memory = std::get_if<SetMemory>(&value);
    if (memory == nullptr) continue;
    if (const auto* symbol = std::get_if<std::string>(&memory->address)) TRY(kernel.symbols().unique(*symbol));
  }
  return {};
}

}  // namespace

Result<PlannedPlace> plan_at(const std::vector<std::string>& workload, const KernelImage& kernel, VcpuId cpu,
                             const At& at) {
  if (std::holds_alternative<AtWorkload>(at)) {
    const std::string& workload_name = workload.at(index(cpu));
    const auto* passed = agent::find_workload(workload_name);
    if (passed == nullptr) return invalid_input("the agent has no workload \"{}\"", workload_name);
    const auto symbol = agent::point_symbol(*passed, cpu);
    if (symbol.empty()) return invalid_input("the workload \"{}\" passes no place of the kernel", workload_name);
    return place_of_symbol(kernel, symbol);
  }
  if (std::holds_alternative<AtNmi>(at)) return place_of_name(kernel, "nmi/entry");
  if (const auto* point = std::get_if<AtPoint>(&at)) return place_of(kernel, point->spec);
  return PlannedPlace{};
}

Result<Plan> make_plan(const Scenario& scenario, const KernelImage& kernel) {
  TRY(check_requirements(scenario.requires_, kernel));
  Plan plan;
  for (const Step& step : scenario.timeline) {
    const std::string context = fmt::format("step {} ({})", step.number, step.text);
    plan.steps.push_back(TRY_CONTEXT(context, plan_at(scenario.workload, kernel, step.cpu, step.at)));
    PlannedPlace until;
    if (const auto* window = std::get_if<DoSpin>(&step.action); window != nullptr && window->until) {
      until = TRY_CONTEXT(context, plan_at(scenario.workload, kernel, step.cpu, *window->until));
    }
    plan.untils.push_back(std::move(until));
    TRY_CONTEXT(context, check_memory_symbols(step, kernel));
  }
  for (const StagePoint& stage : kStagePoints) {
    auto place = place_of_name(kernel, stage.point);
    if (stage.required) place = TRY(needed(std::move(place)));
    if (place) plan.stages.push_back({stage.kind, *std::move(place)});
  }
  plan.stages.push_back({StageKind::kCrashKexec, TRY(needed(place_of_symbol(kernel, "__crash_kexec")))});
  plan.stages.push_back({StageKind::kRegistersSaved, TRY(needed(place_of_symbol(kernel, "crash_save_cpu")))});
  if (auto entry = place_of_symbol(kernel, "asm_exc_nmi")) plan.stages.push_back({StageKind::kNmiTaken, *entry});
  // crash_setup_regs() is inlined; storing the flags is its last but one act, and nothing else there reads them.
  const PointSpec flags{kernels::InstructionPoint{"__crash_kexec", "pushfq", 1}, "__crash_kexec/insn:\"pushfq\""};
  if (auto taken = place_of(kernel, flags)) plan.stages.push_back({StageKind::kRegistersTakenDown, *taken});
  if (std::ranges::find(scenario.unfix, Unfix::kPanicGate) != scenario.unfix.end()) {
    plan.gate = TRY_CONTEXT("unfix: panic-gate", kernels::panic_gate(kernel)).after_exchange;
  }
  plan.panic = TRY(needed(kernel.symbols().unique("panic"))).address;
  if (uses_pause_loop(scenario)) plan.pause_loop = TRY_CONTEXT("irqs-off, spin", kernels::pause_loop(kernel));
  plan.icr_stores = TRY(needed(kernels::icr_stores(kernel)));
  return plan;
}

}  // namespace panicroom::harness
