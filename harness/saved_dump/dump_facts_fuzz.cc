// Whatever a program says that has read a hostile dump: it is understood or refused.
#include <cstdlib>

#include "base/bytes.h"
#include "harness/saved_dump/dump_facts_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = panicroom::as_text(std::as_bytes(std::span(data, size)));
  constexpr std::size_t kPages = 1;
  const auto facts = panicroom::harness::parse_dump_facts(text, kPages);
  if (facts && facts->pages.size() != kPages) std::abort();
  return 0;
}
