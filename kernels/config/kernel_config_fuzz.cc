// Any bytes as a configuration's text, as an image that embeds one, and as the packed part of one.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kernels/config/config_facts.h"
#include "kernels/config/kernel_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace panicroom;  // NOLINT(google-build-using-namespace)
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  if (const auto config = kernels::KernelConfig::parse(as_text(input))) {
    if (config->size() == 0) std::abort();
    for (const auto& fact : kernels::config_facts(*config)) {
      if (fact.value.find('\n') != std::string::npos) std::abort();
    }
  }
  (void)kernels::embedded_config(input);
  (void)kernels::embedded_config(as_bytes("IKCFG_ST\x1f\x8b\x08" + std::string(as_text(input))));
  return 0;
}
