// Arbitrary bytes as code: decoding stays within them, and whatever a pattern finds is there.
#include <algorithm>
#include <string>

#include "base/testing/require.h"
#include "kernels/points/code_patterns.h"

namespace {

using namespace panicroom;           // NOLINT(google-build-using-namespace): this file is the fuzz target alone.
using namespace panicroom::kernels;  // NOLINT(google-build-using-namespace)

constexpr LinkAddress kBase{0xffffffff81000000};

bool starts_instruction(Code code, LinkAddress at) {
  return std::ranges::any_of(code, [&](const Instruction& i) { return i.at == at; });
}

void all_start_instructions(Code code, const Places& places) {
  for (const LinkAddress place : places) require(starts_instruction(code, place));
  require(std::ranges::is_sorted(places));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, std::min<std::size_t>(size, 4096)));
  const CodePart part{kBase, bytes};
  const Disassembly out = disassemble(part);
  const Code code = out.instructions;
  LinkAddress expected = kBase;
  for (const Instruction& i : code) {
    require(i.at == expected && i.length >= 1 && i.length <= 15);
    expected = i.end();
    require(expected <= kBase + bytes.size());
  }
  require(out.undecodable ? *out.undecodable == expected : expected == kBase + bytes.size());

  // Anchors that the code itself names, so that matches happen.
  Addresses targets;
  for (const Instruction& i : code) {
    if (i.target) targets.insert(*i.target);
    if (!i.memory) continue;
    for (const LinkAddress after : after_exchange(code, *i.memory)) {
      const auto* const begin = bytes.data() + (after - kBase);
      require(starts_instruction(code, after));
      require(std::find(begin - std::min<std::ptrdiff_t>(15, begin - bytes.data()), begin, std::byte{0xf0}) != begin);
    }
    all_start_instructions(code, after_call_with_argument(code, targets, *i.memory));
  }
  for (const Places& places :
       {calls(code, targets), after_call(code, targets), returns(code, targets), conditional_returns(code, targets),
        indirect_calls_behind_gs_load(code, targets), pause_loops(code)}) {
    all_start_instructions(code, places);
  }
  // As far as the input has code to name an address.
  const auto bases = displacements(code);
  const LinkAddress icr = bases.empty() ? LinkAddress{0xffffffffff5fd300} : *bases.begin() + kIcrLowOffset;
  for (const auto& store : icr_stores_in(code, icr)) {
    require(starts_instruction(code, store.at) && static_cast<std::size_t>(store.value) < hypervisor::kGprCount);
    require(store.length >= 7);
  }
  const AddressNamer name = [](LinkAddress address) -> std::optional<std::string> {
    if ((address.value & 1) != 0) return std::nullopt;
    return std::string((address.value >> 1) & 511, 's');
  };
  for (const Instruction& i : code.first(std::min<std::size_t>(code.size(), 64))) {
    const std::string text = instruction_text(part, i.at, name);
    require(!text.empty() && starts_with_words(text, text));
  }
  return 0;
}
