#include "kernels/points/resolver.h"

#include <algorithm>
#include <set>

#include "kernels/points/code_patterns.h"
#include "kernels/points/disassembly.h"
#include "kernels/points/kernel_code.h"
#include "kernels/points/named_points.h"

namespace panicroom::kernels {
namespace {

AddressNamer namer(const KernelImage& kernel) {
  return [&kernel](LinkAddress address) -> std::optional<std::string> {
    if (!kernel.symbols().containing(address)) return std::nullopt;
    return place_name(kernel, address);
  };
}

Result<Function> function_named(const KernelImage& kernel, std::string_view name) {
  const Symbol symbol = TRY(function_symbol(kernel, name));
  return decode_function(kernel, symbol);
}

// The n-th, from 1, of `places`.
Result<std::vector<LinkAddress>> nth(const Places& places, std::uint32_t ordinal, std::string_view what,
                                     std::string_view function) {
  if (places.empty()) return unsupported("there is no {} in {}", what, function);
  if (ordinal == 0 || ordinal > places.size()) {
    return unsupported("there is no {} #{} in {}, only {}", what, ordinal, function, places.size());
  }
  return std::vector<LinkAddress>{places[ordinal - 1]};
}

// The names of what a function calls, for the message that it does not call what was looked for.
std::string calls_in(const KernelImage& kernel, const Function& function) {
  constexpr std::size_t kMost = 12;
  std::set<std::string> names;
  for (const Instruction& i : function.code) {
    if (i.mnemonic != ZYDIS_MNEMONIC_CALL || !i.target) continue;
    names.insert(place_name(kernel, *i.target));
  }
  const bool more = names.size() > kMost;
  if (more) names.erase(std::next(names.begin(), kMost), names.end());
  return fmt::format("{}{}", fmt::join(names, ", "), more ? ", ..." : "");
}

class Resolver {
 public:
  explicit Resolver(const KernelImage& kernel) : kernel_(kernel) {}

  Result<ResolvedPoint> operator()(const SymbolPoint& point) const {
    const Symbol symbol = TRY(function_symbol(kernel_, point.symbol));
    const CodePart body = TRY(function_body(kernel_, symbol));
    if (point.offset >= body.bytes.size()) {
      return unsupported("{}+{:#x} is behind the end of {}, which has {:#x} bytes in this kernel", point.symbol,
                         point.offset, symbol.name, body.bytes.size());
    }
    const LinkAddress at = body.base + point.offset;
    const Disassembly code = disassemble(body);
    const auto here = std::ranges::find(code.instructions, at, &Instruction::at);
    if (here == code.instructions.end()) {
      return unsupported("{}+{:#x} is not the beginning of an instruction in this kernel", point.symbol, point.offset);
    }
    return found({at}, point.offset == 0 ? "first instruction of the function" : "by its offset");
  }

  Result<ResolvedPoint> operator()(const CallPoint& point) const {
    const Function function = TRY(function_named(kernel_, point.symbol));
    const Addresses callees = callee_addresses(kernel_, point.callee);
    if (callees.empty()) return unsupported("the kernel has no function {} that could be called", point.callee);
    const Places places = calls(function.code, callees);
    if (places.empty()) {
      return unsupported("there is no call of {} in {}, which calls {}", point.callee, point.symbol,
                         calls_in(kernel_, function));
    }
    auto at = TRY(nth(places, point.ordinal, "call of " + point.callee, point.symbol));
    return found(std::move(at), "by the call's target");
  }

  Result<ResolvedPoint> operator()(const InstructionPoint& point) const {
    const Function function = TRY(function_named(kernel_, point.symbol));
    const AddressNamer name = namer(kernel_);
    Places places;
    for (const CodePart& part : function.parts) {
      for (const Instruction& i : function.code) {
        if (i.at < part.base || i.at - part.base >= part.bytes.size()) continue;
        if (starts_with_words(instruction_text(part, i.at, name), point.text)) places.push_back(i.at);
      }
    }
    auto at = TRY(nth(places, point.ordinal, fmt::format("instruction \"{}\"", point.text), point.symbol));
    return found(std::move(at), "by the instruction's text");
  }

  Result<ResolvedPoint> operator()(const ReturnPoint& point) const {
    const Function function = TRY(function_named(kernel_, point.symbol));
    const Addresses thunks = callee_addresses(kernel_, "__x86_return_thunk");
    if (const auto conditional = conditional_returns(function.code, thunks); !conditional.empty()) {
      return unsupported("{} returns by a conditional jump at {}, which a breakpoint cannot tell from one not taken",
                         point.symbol, place_name(kernel_, conditional.front()));
    }
    Places places = returns(function.code, thunks);
    if (places.empty()) return unsupported("{} never returns by itself in this kernel", point.symbol);
    return found(std::move(places), "every return instruction");
  }

  Result<ResolvedPoint> operator()(const NamedPoint& point) const {
    const NamedPointEntry* entry = find_named_point(point.name);
    if (entry == nullptr) return unsupported("there is no named point {}", point.name);
    return resolve_named_point(kernel_, *entry);
  }

 private:
  [[nodiscard]] Result<ResolvedPoint> found(std::vector<LinkAddress> at, std::string_view how) const {
    std::string where;
    for (const LinkAddress address : at) {
      where += fmt::format("{}{}", where.empty() ? "" : ", ", place_name(kernel_, address));
    }
    return ResolvedPoint{{}, std::move(at), PointCondition::kAlways, fmt::format("{}: {}", how, where)};
  }

  const KernelImage& kernel_;
};

}  // namespace

Result<ResolvedPoint> resolve(const KernelImage& kernel, const PointSpec& spec) {
  ResolvedPoint point = TRY(std::visit(Resolver(kernel), spec.what));
  point.text = spec.text;
  return point;
}

Result<Gate> panic_gate(const KernelImage& kernel) {
  const ResolvedPoint point = TRY(resolve_named_point(kernel, *find_named_point(kPanicGate)));
  return Gate{point.at.front()};
}

}  // namespace panicroom::kernels
