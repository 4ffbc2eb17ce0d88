// Small kernels with functions that a test or a fuzz target writes. Not linked into the product.
#pragma once

#include <string>
#include <vector>

#include "kernels/image/kernel_image.h"
#include "kernels/image/synthetic_kernel.h"

namespace panicroom::kernels::testing {

// Functions of one slot each, in the order in which they are added, filled up with int3; 64 bytes of variables.
class KernelBuilder {
 public:
  static constexpr LinkAddress kText{kSyntheticText};
  static constexpr LinkAddress kData{kSyntheticData};
  static constexpr std::size_t kSlot = 64;       // Bytes for each function; longer code is cut.
  static constexpr std::size_t kMostSlots = 64;  // What is added behind them has no code.

  KernelBuilder();
  KernelBuilder& symbol(LinkAddress at, char type, std::string name);
  // Where the next function will be.
  [[nodiscard]] LinkAddress here() const { return kText + text_.size(); }
  KernelBuilder& function(const std::string& name, const std::string& code);
  KernelBuilder& init_text(std::string code);

  // The ELF file of it.
  [[nodiscard]] std::vector<std::byte> file() const;
  [[nodiscard]] KernelImage build() const;

 private:
  std::vector<SyntheticSymbol> symbols_;
  std::string text_;
  std::string init_text_ = "\xcc";
};

}  // namespace panicroom::kernels::testing
