// The methods of the table in named_points.h.
#include "kernels/points/named_points.h"

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/points/code_patterns.h"
#include "kernels/points/kernel_code.h"
#include "kernels/points/resolver.h"

namespace panicroom::kernels {
namespace {

// What one way found: places and how, or why there are none.
struct Found {
  Places places;
  std::string how;
  std::string why_not;
};

// The functions of a way that this kernel has.
Result<std::vector<Symbol>> functions_of(const KernelImage& kernel, const Way& way) {
  std::vector<Symbol> out;
  for (const std::string_view name : way.functions) {
    if (name.empty()) continue;
    const auto symbol = TRY(find_function(kernel, name));
    if (symbol) out.push_back(*symbol);
  }
  return out;
}

std::string names_of(const Way& way) {
  return way.functions[1].empty() ? fmt::format("{}()", way.functions[0])
                                  : fmt::format("{}() and {}()", way.functions[0], way.functions[1]);
}

Result<LinkAddress> variable(const KernelImage& kernel, std::string_view name) {
  const Symbol symbol = TRY(kernel.symbols().unique(name));
  if (symbol.text) return unsupported("{} is code in this kernel, not a variable", name);
  return symbol.address;
}

// A place behind an instruction is of use only if that instruction is the one way to it.
Result<> reached_in_line_only(const KernelImage& kernel, const Function& function, const Places& places) {
  for (const LinkAddress place : places) {
    if (is_jump_target(function.code, place)) {
      return unsupported("{} is also reached by a jump, so it does not tell what came before it",
                         place_name(kernel, place));
    }
  }
  return {};
}

Result<Found> entry(const KernelImage& kernel, const Way& way) {
  Found found;
  const auto symbols = TRY(functions_of(kernel, way));
  for (const Symbol& symbol : symbols) found.places.push_back(symbol.address);
  found.how = "first instruction";
  found.why_not = fmt::format("the kernel has no function {}", names_of(way));
  return found;
}

// Places by a pattern in the way's functions.
template <typename Pattern>
Result<Found> by_pattern(const KernelImage& kernel, const Way& way, std::string_view what, const Pattern& pattern) {
  const auto symbols = TRY(functions_of(kernel, way));
  Found found;
  found.how = std::string(what);
  if (symbols.empty()) {
    found.why_not = fmt::format("the kernel has no function {}", names_of(way));
    return found;
  }
  found.why_not = fmt::format("{}: there is none in {}", what, names_of(way));
  for (const Symbol& symbol : symbols) {
    const Function function = TRY(decode_function(kernel, symbol));
    const Places places = TRY(pattern(function));
    found.places.insert(found.places.end(), places.begin(), places.end());
  }
  return found;
}

Result<Found> after_exchange_on(const KernelImage& kernel, const Way& way) {
  if (kernel.symbols().find(way.target).empty()) {
    return Found{{}, {}, fmt::format("the kernel has no variable {}", way.target)};
  }
  const LinkAddress anchor = TRY(variable(kernel, way.target));
  return by_pattern(kernel, way, fmt::format("behind the lock cmpxchg on {}", way.target),
                    [&](const Function& function) -> Result<Places> {
                      Places places = after_exchange(function.code, anchor);
                      TRY(reached_in_line_only(kernel, function, places));
                      return places;
                    });
}

Result<Found> after_mutex_trylock(const KernelImage& kernel, const Way& way) {
  if (kernel.symbols().find(way.target).empty()) {
    return Found{{}, {}, fmt::format("the kernel has no variable {}", way.target)};
  }
  const LinkAddress mutex = TRY(variable(kernel, way.target));
  const Addresses trylock = callee_addresses(kernel, "mutex_trylock");
  return by_pattern(kernel, way, fmt::format("behind the call mutex_trylock(&{})", way.target),
                    [&](const Function& function) -> Result<Places> {
                      Places places = after_call_with_argument(function.code, trylock, mutex);
                      TRY(reached_in_line_only(kernel, function, places));
                      return places;
                    });
}

Result<Found> call_of(const KernelImage& kernel, const Way& way) {
  const Addresses callees = callee_addresses(kernel, way.target);
  return by_pattern(kernel, way, fmt::format("the call of {}()", way.target),
                    [&](const Function& function) -> Result<Places> { return calls(function.code, callees); });
}

Result<Found> after_call_of(const KernelImage& kernel, const Way& way) {
  const Addresses callees = callee_addresses(kernel, way.target);
  return by_pattern(kernel, way, fmt::format("behind the call of {}()", way.target),
                    [&](const Function& function) -> Result<Places> {
                      Places places = after_call(function.code, callees);
                      TRY(reached_in_line_only(kernel, function, places));
                      return places;
                    });
}

Result<Found> entry_behind(const KernelImage& kernel, const Way& way) {
  Found found = TRY(call_of(kernel, way));
  if (found.places.empty()) return found;
  const auto target = TRY(function_symbol(kernel, way.target));
  found.places = {target.address};
  found.how = fmt::format("first instruction of {}(), which {} calls", way.target, names_of(way));
  return found;
}

// The functions of one source file stand together.
Result<Found> entry_beside(const KernelImage& kernel, const Way& way) {
  constexpr std::uint64_t kBeside = 4096;
  Found found;
  found.how = fmt::format("first instruction of the {} that stands beside {}()", names_of(way), way.target);
  found.why_not = fmt::format("no {} stands beside a {}()", names_of(way), way.target);
  const auto anchor = TRY(find_function(kernel, way.target));
  if (!anchor) return found;
  for (const Symbol& symbol : kernel.symbols().find(way.functions[0])) {
    const auto [low, high] = std::minmax(symbol.address.value, anchor->address.value);
    if (symbol.text && high - low < kBeside) found.places.push_back(symbol.address);
  }
  return found;
}

Result<Found> jump_out_of_the_kernel(const KernelImage& kernel, const Way& way) {
  const Addresses thunks = addresses_with_prefix(kernel, "__x86_indirect_thunk_");
  return by_pattern(
      kernel, way, "the indirect call behind the load of GS",
      [&](const Function& function) -> Result<Places> { return indirect_calls_behind_gs_load(function.code, thunks); });
}

Result<Found> find(const KernelImage& kernel, const Way& way) {
  switch (way.method) {
    case Method::kEntry:
      return entry(kernel, way);
    case Method::kEntryBehind:
      return entry_behind(kernel, way);
    case Method::kEntryBeside:
      return entry_beside(kernel, way);
    case Method::kAfterExchange:
      return after_exchange_on(kernel, way);
    case Method::kAfterCall:
      return after_call_of(kernel, way);
    case Method::kAfterMutexTrylock:
      return after_mutex_trylock(kernel, way);
    case Method::kCall:
      return call_of(kernel, way);
    case Method::kJumpOutOfTheKernel:
      return jump_out_of_the_kernel(kernel, way);
    case Method::kNone:
      break;
  }
  return Found{};
}

}  // namespace

Result<ResolvedPoint> resolve_named_point(const KernelImage& kernel, const NamedPointEntry& entry) {
  std::string why_not;
  for (const Way& way : entry.ways) {
    if (way.method == Method::kNone) break;
    Found found = TRY_CONTEXT(entry.name, find(kernel, way));
    if (found.places.empty()) {
      why_not += fmt::format("{}{}", why_not.empty() ? "" : "; ", found.why_not);
      continue;
    }
    std::string where;
    for (const LinkAddress place : found.places) {
      where += fmt::format("{}{}", where.empty() ? "" : ", ", place_name(kernel, place));
    }
    if (found.places.size() > 1 && !entry.several) {
      return unsupported("{} is ambiguous in {}: {} is found at {}", entry.name, kernel.release(), found.how, where);
    }
    return ResolvedPoint{std::string(entry.name), std::move(found.places), way.condition,
                         fmt::format("{}: {}", found.how, where)};
  }
  return unsupported("{} is not found in {}: {}", entry.name, kernel.release(), why_not);
}

}  // namespace panicroom::kernels
