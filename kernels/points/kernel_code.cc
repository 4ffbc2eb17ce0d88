#include "kernels/points/kernel_code.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>

namespace panicroom::kernels {
namespace {

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_hash(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; });
}

// Whether `suffix` (".constprop.0.isra.0") consists of `words` and numbers only.
template <std::size_t N>
bool consists_of(std::string_view suffix, const std::array<std::string_view, N>& words) {
  bool any = false;
  while (!suffix.empty()) {
    if (suffix.front() != '.') return false;
    suffix.remove_prefix(1);
    const std::string_view word = suffix.substr(0, suffix.find('.'));
    suffix.remove_prefix(word.size());
    const bool known = std::find(words.begin(), words.end(), word) != words.end();
    if (!known && !is_number(word) && !(any && is_hash(word))) return false;
    any = any || known;
  }
  return any;
}

constexpr std::array<std::string_view, 4> kRenamed = {"constprop", "isra", "llvm", "lto_priv"};
constexpr std::array<std::string_view, 1> kCold = {"cold"};

template <std::size_t N>
std::vector<Symbol> with_suffix(const KernelImage& kernel, std::string_view name,
                                const std::array<std::string_view, N>& words) {
  std::vector<Symbol> out;
  for (const Symbol& symbol : kernel.symbols().all()) {
    if (!symbol.text || symbol.name.size() <= name.size() || !symbol.name.starts_with(name)) continue;
    if (consists_of(symbol.name.substr(name.size()), words)) out.push_back(symbol);
  }
  return out;
}

std::vector<Symbol> exactly(const KernelImage& kernel, std::string_view name) {
  std::vector<Symbol> out;
  std::ranges::copy_if(kernel.symbols().find(name), std::back_inserter(out), [](const Symbol& s) { return s.text; });
  return out;
}

// Aliases of one address count once.
Result<std::optional<Symbol>> the_only_one(std::string_view name, const std::vector<Symbol>& symbols) {
  if (symbols.empty()) return std::optional<Symbol>();
  const auto other =
      std::ranges::find_if(symbols, [&](const Symbol& s) { return s.address != symbols.front().address; });
  if (other != symbols.end()) {
    return unsupported("{} is ambiguous in this kernel: {} at {} and {} at {}", name, symbols.front().name,
                       symbols.front().address, other->name, other->address);
  }
  return std::optional<Symbol>(symbols.front());
}

bool jumps_into(Code code, const LinkRange& range) {
  return std::ranges::any_of(code, [&](const Instruction& i) { return i.target && range.contains(*i.target); });
}

Result<> append(Function& function, CodePart part, std::string_view name) {
  Disassembly decoded = disassemble(part);
  if (decoded.undecodable) {
    return unsupported("{} cannot be disassembled: at {}+{:#x} is no instruction", function.symbol.name, name,
                       *decoded.undecodable - part.base);
  }
  function.parts.push_back(part);
  std::ranges::move(decoded.instructions, std::back_inserter(function.code));
  return {};
}

}  // namespace

Result<std::optional<Symbol>> find_function(const KernelImage& kernel, std::string_view name) {
  const auto exact = TRY(the_only_one(name, exactly(kernel, name)));
  if (exact) return exact;
  return the_only_one(name, with_suffix(kernel, name, kRenamed));
}

Result<Symbol> function_symbol(const KernelImage& kernel, std::string_view name) {
  const auto symbol = TRY(find_function(kernel, name));
  if (symbol) return *symbol;
  if (!kernel.symbols().find(name).empty()) return unsupported("{} is data in this kernel, not code", name);
  return unsupported("the kernel has no function {}: it may be inlined, or this version or configuration lacks it",
                     name);
}

Result<CodePart> function_body(const KernelImage& kernel, const Symbol& symbol) {
  const auto extent = kernel.symbols().extent(symbol);
  if (!extent || extent->size() == 0) return unsupported("{} has no code in this kernel", symbol.name);
  const auto bytes = kernel.elf().bytes_at(extent->begin, extent->size());
  if (!bytes) return unsupported("the code of {} is not in the kernel's image", symbol.name);
  return CodePart{extent->begin, *bytes};
}

Result<Function> decode_function(const KernelImage& kernel, const Symbol& symbol) {
  Function function{.symbol = symbol, .parts = {}, .code = {}};
  const CodePart own = TRY(function_body(kernel, symbol));
  TRY(append(function, own, symbol.name));
  const std::vector<Instruction> body = function.code;
  // Functions of different files may share a name, and so may their cold parts: the right one is where the body jumps.
  for (const Symbol& part : with_suffix(kernel, symbol.name, kCold)) {
    const auto extent = kernel.symbols().extent(part);
    if (!extent || !jumps_into(body, *extent)) continue;
    const CodePart aside = TRY(function_body(kernel, part));
    TRY(append(function, aside, part.name));
  }
  return function;
}

Addresses callee_addresses(const KernelImage& kernel, std::string_view name) {
  Addresses out;
  const auto add = [&](const std::vector<Symbol>& symbols) {
    for (const Symbol& symbol : symbols) out.insert(symbol.address);
  };
  add(exactly(kernel, name));
  add(with_suffix(kernel, name, kRenamed));
  add(exactly(kernel, "__SCT__" + std::string(name)));
  return out;
}

Addresses addresses_with_prefix(const KernelImage& kernel, std::string_view prefix) {
  Addresses out;
  for (const Symbol& symbol : kernel.symbols().all()) {
    if (symbol.text && symbol.name.starts_with(prefix)) out.insert(symbol.address);
  }
  return out;
}

std::string place_name(const KernelImage& kernel, LinkAddress address) {
  const auto place = kernel.symbols().containing(address);
  if (!place) return fmt::format("{}", address);
  if (place->offset == 0) return std::string(place->symbol.name);
  return fmt::format("{}+{:#x}", place->symbol.name, place->offset);
}

std::vector<LinkRange> lasting_text(const KernelImage& kernel) {
  std::vector<LinkRange> out;
  if (kernel.elf().sections().empty()) {
    std::ranges::copy(kernel.elf().text_ranges(), std::back_inserter(out));
    return out;
  }
  for (const Section& section : kernel.elf().sections()) {
    if (!section.executable() || section.range.size() == 0) continue;
    const std::string_view name = section.name;
    if (name.starts_with(".init") || name.starts_with(".exit") || name.starts_with(".altinstr")) continue;
    out.push_back(section.range);
  }
  return out;
}

}  // namespace panicroom::kernels
