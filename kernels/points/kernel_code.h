// A kernel's functions as code: found by name, decoded, put together where the compiler has split them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/image/kernel_image.h"
#include "kernels/points/code_patterns.h"
#include "kernels/points/disassembly.h"

namespace panicroom::kernels {

// A function's body and the part that GCC has moved out of line (NAME.cold), which is the same function to whoever
// reads the source. Partial inlining's NAME.part.0 is called, and so a function of its own.
struct Function {
  Symbol symbol;
  std::vector<CodePart> parts;    // The body first. Bytes belong to the KernelImage.
  std::vector<Instruction> code;  // Of all parts, in their order.
};

// The function of this name in the kernel's text, or nothing. If there is none under exactly this name, the one that
// the compiler has specialised and renamed (NAME.constprop.0, NAME.isra.0, NAME.llvm.1). kUnsupported if there are
// several.
Result<std::optional<Symbol>> find_function(const KernelImage& kernel, std::string_view name);

// The same, but it is an error if there is none.
Result<Symbol> function_symbol(const KernelImage& kernel, std::string_view name);

// The decoded function. kUnsupported if some of it cannot be decoded: what stands behind that place is not known.
Result<Function> decode_function(const KernelImage& kernel, const Symbol& symbol);

// The body's bytes, without decoding; kUnsupported if they are not in the image.
Result<CodePart> function_body(const KernelImage& kernel, const Symbol& symbol);

// Every address that a call of `name` may have as its target: the functions of that name, their renamed variants, and
// the static call's trampoline (__SCT__NAME).
Addresses callee_addresses(const KernelImage& kernel, std::string_view name);

// Every address of symbols that begin with `prefix`.
Addresses addresses_with_prefix(const KernelImage& kernel, std::string_view prefix);

// "panic+0x84", or the address if no symbol is near.
std::string place_name(const KernelImage& kernel, LinkAddress address);

// The sections of code that stay after boot: not .init.text, .exit.text and .altinstr_*.
std::vector<LinkRange> lasting_text(const KernelImage& kernel);

}  // namespace panicroom::kernels
