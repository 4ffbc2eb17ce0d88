// The parts of resolver.h that search all of a kernel's text: by bytes first, because decoding everything would take
// seconds, then by decoding the function that a hit lies in, because bytes alone may be the middle of an instruction.
#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <set>

#include "kernels/points/code_patterns.h"
#include "kernels/points/kernel_code.h"
#include "kernels/points/resolver.h"

namespace panicroom::kernels {
namespace {

// The SIB byte of [disp32] and kIcrLow: what every store to the ICR has, whatever its register.
constexpr auto kIcrOperand = std::to_array<unsigned char>({0x25, 0x00, 0xd3, 0x5f, 0xff});
constexpr auto kPauseLoop = std::to_array<unsigned char>({0xf3, 0x90, 0xeb, 0xfc});

template <std::size_t N>
Result<Places> hits(const KernelImage& kernel, const std::array<unsigned char, N>& wanted) {
  Places out;
  for (const LinkRange& range : lasting_text(kernel)) {
    const auto bytes = kernel.elf().bytes_at(range.begin, range.size());
    if (!bytes) return unsupported("the kernel's text at {} is not in its image", range.begin);
    const std::string_view text = as_text(*bytes);
    const std::string_view pattern(reinterpret_cast<const char*>(wanted.data()), wanted.size());
    for (std::size_t at = text.find(pattern); at != std::string_view::npos; at = text.find(pattern, at + 1)) {
      out.push_back(range.begin + at);
    }
  }
  return out;
}

// The body that an address lies in, decoded as far as that address and beyond.
Result<std::vector<Instruction>> code_around(const KernelImage& kernel, LinkAddress address) {
  const auto place = kernel.symbols().containing(address);
  if (!place) return unsupported("the code at {} belongs to no function", address);
  const CodePart body = TRY(function_body(kernel, place->symbol));
  Disassembly code = disassemble(body);
  if (code.undecodable && *code.undecodable <= address) {
    return unsupported("{} cannot be disassembled as far as {}", place->symbol.name, place_name(kernel, address));
  }
  return std::move(code.instructions);
}

}  // namespace

Result<std::vector<IcrStoreSite>> icr_stores(const KernelImage& kernel) {
  std::vector<IcrStoreSite> sites;
  const Places candidates = TRY(hits(kernel, kIcrOperand));
  for (const LinkAddress hit : candidates) {
    const auto code = TRY_CONTEXT("looking for the stores to the ICR", code_around(kernel, hit));
    for (const auto& store : icr_stores_in(code)) {
      if (store.at < hit && hit - store.at < store.length) sites.push_back({store.at, store.value, store.length});
    }
  }
  if (sites.empty()) return unsupported("{} has no store to the xAPIC's ICR in its text", kernel.release());
  return sites;
}

Result<LinkAddress> pause_loop(const KernelImage& kernel) {
  // Where a CPU that lost a panic waits for its end: whoever finds a vCPU there is not surprised.
  const auto symbol = TRY(find_function(kernel, "panic_smp_self_stop"));
  if (symbol) {
    const Function function = TRY(decode_function(kernel, *symbol));
    const Places loops = pause_loops(function.code);
    if (!loops.empty()) return loops.front();
  }
  const Places candidates = TRY(hits(kernel, kPauseLoop));
  for (const LinkAddress hit : candidates) {
    const auto code = code_around(kernel, hit);
    if (!code) continue;
    const Places loops = pause_loops(*code);
    if (std::ranges::find(loops, hit) != loops.end()) return hit;
  }
  return unsupported("{} has no loop of pause and jmp in its text", kernel.release());
}

}  // namespace panicroom::kernels
