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

// Documentation/arch/x86/x86_64/mm.rst: where the fixmap can be. Which page of it is the local APIC's depends on the
// configuration (PROVIDE_OHCI1394_DMA_INIT and X86_VSYSCALL_EMULATION move it).
constexpr LinkRange kFixmap{{0xffffffffff000000}, {0xffffffffff800000}};
constexpr std::uint64_t kPageSize = 4096;

constexpr auto kPauseLoop = std::to_array<unsigned char>({0xf3, 0x90, 0xeb, 0xfc});

// The SIB byte of [disp32] and the address: what every store to a fixed address has, whatever its register.
std::array<unsigned char, 5> fixed_operand(LinkAddress address) {
  std::array<unsigned char, 5> bytes{0x25};
  for (std::size_t i = 1; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>(address.value >> (8 * (i - 1)));
  }
  return bytes;
}

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

Result<LinkAddress> local_apic(const KernelImage& kernel) {
  // Defined in a header, so there may be a copy in each file that takes their address.
  std::set<LinkAddress> found;
  for (const std::string_view name : {"native_apic_mem_read", "native_apic_mem_write"}) {
    for (const Symbol& symbol : kernel.symbols().find(name)) {
      if (!symbol.text) continue;
      const Disassembly code = disassemble(TRY(function_body(kernel, symbol)));
      for (const LinkAddress at : displacements(code.instructions)) {
        if (kFixmap.contains(at) && at.value % kPageSize == 0) found.insert(at);
      }
    }
  }
  if (found.empty()) {
    return unsupported(
        "where {} maps the local APIC is not found: it has no native_apic_mem_read() and native_apic_mem_write(), or "
        "they address no page of the fixmap",
        kernel.release());
  }
  if (found.size() > 1) {
    return unsupported(
        "where {} maps the local APIC is ambiguous: native_apic_mem_read() and native_apic_mem_write() "
        "say {} and {}",
        kernel.release(), *found.begin(), *std::next(found.begin()));
  }
  return *found.begin();
}

Result<std::vector<IcrStoreSite>> icr_stores(const KernelImage& kernel) {
  std::vector<IcrStoreSite> sites;
  const LinkAddress icr = TRY(local_apic(kernel)) + kIcrLowOffset;
  const Places candidates = TRY(hits(kernel, fixed_operand(icr)));
  for (const LinkAddress hit : candidates) {
    const auto code = TRY_CONTEXT("looking for the stores to the ICR", code_around(kernel, hit));
    for (const auto& store : icr_stores_in(code, icr)) {
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
