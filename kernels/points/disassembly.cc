#include "kernels/points/disassembly.h"

#include <Zycore/String.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace panicroom::kernels {
namespace {

using Operands = std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT>;

const ZydisDecoder& decoder() {
  static const ZydisDecoder kDecoder = [] {
    ZydisDecoder made;
    ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return made;
  }();
  return kDecoder;
}

bool decode(Bytes bytes, ZydisDecodedInstruction& instruction, Operands& operands) {
  return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder(), bytes.data(), bytes.size(), &instruction, operands.data()));
}

std::optional<LinkAddress> absolute(const ZydisDecodedInstruction& decoded, const ZydisDecodedOperand& operand,
                                    LinkAddress at) {
  ZyanU64 address = 0;
  if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&decoded, &operand, at.value, &address))) return std::nullopt;
  return LinkAddress{address};
}

std::optional<LinkAddress> fixed_memory(const ZydisDecodedInstruction& decoded, const ZydisDecodedOperand& operand,
                                        LinkAddress at) {
  const auto& memory = operand.mem;
  if (memory.segment == ZYDIS_REGISTER_FS || memory.segment == ZYDIS_REGISTER_GS) return std::nullopt;
  if (memory.index != ZYDIS_REGISTER_NONE) return std::nullopt;
  if (memory.base == ZYDIS_REGISTER_NONE) return LinkAddress{static_cast<std::uint64_t>(memory.disp.value)};
  if (memory.base != ZYDIS_REGISTER_RIP) return std::nullopt;
  return absolute(decoded, operand, at);
}

std::optional<std::int64_t> displacement_of(const ZydisDecodedOperand& operand) {
  const auto& memory = operand.mem;
  if (memory.segment == ZYDIS_REGISTER_FS || memory.segment == ZYDIS_REGISTER_GS) return std::nullopt;
  if (memory.index != ZYDIS_REGISTER_NONE || memory.base == ZYDIS_REGISTER_NONE) return std::nullopt;
  if (memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP) return std::nullopt;
  return memory.disp.has_displacement != 0 ? memory.disp.value : 0;
}

Instruction describe(const ZydisDecodedInstruction& decoded, const Operands& operands, LinkAddress at) {
  Instruction out;
  out.at = at;
  out.length = decoded.length;
  out.mnemonic = decoded.mnemonic;
  out.lock = (decoded.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
  const std::size_t count = std::min<std::size_t>(decoded.operand_count_visible, operands.size());
  for (std::size_t i = 0; i < count; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (i == 0) out.operand_bits = operand.size;
    switch (operand.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        if (i == 0) out.destination = operand.reg.value;
        if (i == 1) out.source = operand.reg.value;
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        if (!out.memory) out.memory = fixed_memory(decoded, operand, at);
        if (!out.displacement) out.displacement = displacement_of(operand);
        break;
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if (operand.imm.is_relative != 0) out.target = absolute(decoded, operand, at);
        if (i == 1) out.immediate = operand.imm.value.u;
        break;
      default:
        break;
    }
  }
  return out;
}

ZyanStatus print_named_address(const ZydisFormatter* formatter, ZydisFormatterBuffer* buffer,
                               ZydisFormatterContext* context);

// The formatter, and the function that its hook stands in for.
struct Formatter {
  Formatter() {
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    original = reinterpret_cast<const void*>(&print_named_address);
    ZydisFormatterSetHook(&formatter, ZYDIS_FORMATTER_FUNC_PRINT_ADDRESS_ABS, &original);
  }
  ZydisFormatter formatter;
  const void* original;
};

const Formatter& formatter() {
  static const Formatter kFormatter;
  return kFormatter;
}

ZyanStatus print_named_address(const ZydisFormatter* zydis, ZydisFormatterBuffer* buffer,
                               ZydisFormatterContext* context) {
  const auto& name = *static_cast<const AddressNamer*>(context->user_data);
  ZyanU64 address = 0;
  if (name && ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(context->instruction, context->operand, context->runtime_address,
                                                    &address))) {
    if (const auto text = name(LinkAddress{address}); text && !text->empty()) {
      ZyanStringView view;
      ZYAN_CHECK(ZyanStringViewInsideBufferEx(&view, text->data(), text->size()));
      ZYAN_CHECK(ZydisFormatterBufferAppend(buffer, ZYDIS_TOKEN_SYMBOL));
      ZyanString* out = nullptr;
      ZYAN_CHECK(ZydisFormatterBufferGetString(buffer, &out));
      return ZyanStringAppend(out, &view);
    }
  }
  return reinterpret_cast<ZydisFormatterFunc>(const_cast<void*>(formatter().original))(zydis, buffer, context);
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '$'; }

std::string single_spaced(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (!is_space(c)) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

}  // namespace

Disassembly disassemble(CodePart part) {
  Disassembly out;
  const std::size_t limit = std::min(part.bytes.size(), kMaxCodeBytes);
  std::size_t offset = 0;
  ZydisDecodedInstruction decoded;
  Operands operands;
  while (offset < limit) {
    const LinkAddress at = part.base + offset;
    if (!decode(part.bytes.subspan(offset), decoded, operands)) {
      out.undecodable = at;
      return out;
    }
    out.instructions.push_back(describe(decoded, operands, at));
    offset += decoded.length;
  }
  if (offset < part.bytes.size()) out.undecodable = part.base + offset;
  return out;
}

std::string instruction_text(CodePart part, LinkAddress at, const AddressNamer& name) {
  const std::uint64_t offset = at - part.base;
  if (at < part.base || offset >= part.bytes.size()) return {};
  ZydisDecodedInstruction decoded;
  Operands operands;
  if (!decode(part.bytes.subspan(offset), decoded, operands)) return {};
  // The longest symbol (KSYM_NAME_LEN is 512) twice over, and the rest of an instruction.
  std::array<char, 1536> text{};
  if (!ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter().formatter, &decoded, operands.data(),
                                                    decoded.operand_count_visible, text.data(), text.size(), at.value,
                                                    const_cast<void*>(static_cast<const void*>(&name))))) {
    return {};
  }
  return text.data();
}

bool starts_with_words(std::string_view text, std::string_view words) {
  const std::string is = single_spaced(text);
  const std::string wanted = single_spaced(words);
  if (wanted.empty() || !is.starts_with(wanted)) return false;
  return is.size() == wanted.size() || !in_word(wanted.back()) || !in_word(is[wanted.size()]);
}

}  // namespace panicroom::kernels
