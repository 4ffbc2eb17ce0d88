// A kernel's configuration, as the build wrote it (.config, /boot/config-RELEASE) or as it is embedded in the image
// (CONFIG_IKCONFIG). Format: the kernel's Documentation/kbuild/kconfig.rst. Leaves out what an option means:
// config_facts.h knows some.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace panicroom::kernels {

class KernelConfig {
 public:
  // kInvalidInput, with the line, for text that is no configuration. Lines that say that an option is not set, comments
  // and empty lines are passed over.
  static Result<KernelConfig> parse(std::string_view text);

  // The value as the file has it, without the quotes of a string: "y", "m", "0x200000", "-generic". Nothing if the
  // option is not set or not known to that kernel. `name` is without CONFIG_.
  [[nodiscard]] std::optional<std::string_view> value(std::string_view name) const;
  // y or m.
  [[nodiscard]] bool enabled(std::string_view name) const;
  [[nodiscard]] std::size_t size() const { return values_.size(); }

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

// The text of the configuration embedded in a kernel's ELF or module (gzip between IKCFG_ST and IKCFG_ED, kernel's
// kernel/configs.c); nothing if there is none. kInvalidInput if it is there but cannot be unpacked.
Result<std::optional<std::string>> embedded_config(Bytes elf);

}  // namespace panicroom::kernels
