#include "kernels/points/kernel_builder.h"

#include <elf.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace panicroom::kernels::testing {
namespace {

std::vector<std::byte> bytes(const std::string& text) {
  const Bytes view = as_bytes(text);
  return {view.begin(), view.end()};
}

}  // namespace

KernelBuilder::KernelBuilder() {
  symbol(kText, 'T', "_text");
  function("first_function", "\x90");
  symbol(LinkAddress{kSyntheticRodata}, 'R', "linux_banner");
}

KernelBuilder& KernelBuilder::symbol(LinkAddress at, char type, std::string name) {
  symbols_.push_back({at.value, type, std::move(name)});
  return *this;
}

KernelBuilder& KernelBuilder::function(const std::string& name, const std::string& code) {
  symbol(here(), 'T', name);
  text_ += code.substr(0, kSlot);
  text_.resize((text_.size() + kSlot - 1) / kSlot * kSlot, '\xcc');
  return *this;
}

KernelBuilder& KernelBuilder::init_text(std::string code) {
  init_text_ = std::move(code);
  return *this;
}

std::vector<std::byte> KernelBuilder::file() const {
  auto symbols = symbols_;
  symbols.push_back({kSyntheticInitText, 'T', "_sinittext"});
  for (int i = 0; i < 400; ++i) {  // As many as tables need to be told from chance.
    symbols.push_back({kText.value + 0x2000 + static_cast<std::uint64_t>(i) * 16, 't', "other_" + std::to_string(i)});
  }
  std::ranges::stable_sort(symbols, {}, &SyntheticSymbol::address);
  auto rodata = bytes(std::string(kSyntheticBanner) + "\n");
  rodata.resize(256);
  const auto tables = encode_kallsyms(symbols, kSyntheticRodata + rodata.size(), KallsymsOptions{});
  rodata.insert(rodata.end(), tables.begin(), tables.end());
  rodata.resize(rodata.size() + 64);
  std::string text = text_.substr(0, kMostSlots * kSlot);
  text.resize(0x4000, '\x90');
  constexpr std::uint64_t kCode = SHF_ALLOC | SHF_EXECINSTR;
  return build_elf({{".text", kText.value, kCode, bytes(text)},
                    {".rodata", kSyntheticRodata, SHF_ALLOC, std::move(rodata)},
                    {".data", kData.value, SHF_ALLOC | SHF_WRITE, std::vector<std::byte>(64)},
                    {".init.text", kSyntheticInitText, kCode, bytes(init_text_)}});
}

KernelImage KernelBuilder::build() const {
  auto image = KernelImage::from_file_content("synthetic", file());
  if (!image) throw std::runtime_error(image.error().message());
  return *std::move(image);
}

}  // namespace panicroom::kernels::testing
