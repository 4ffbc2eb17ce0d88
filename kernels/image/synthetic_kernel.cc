#include "kernels/image/synthetic_kernel.h"

#include <bzlib.h>
#include <elf.h>
#include <lz4hc.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string_view>

namespace panicroom::kernels::testing {
namespace {

using Buffer = std::vector<std::byte>;

void append(Buffer& buffer, Bytes bytes) { buffer.insert(buffer.end(), bytes.begin(), bytes.end()); }

template <typename T>
void append_value(Buffer& buffer, T value) {
  append(buffer, std::as_bytes(std::span(&value, 1)));
}

void append_big_endian(Buffer& buffer, std::uint32_t value, int width = 4) {
  for (int shift = (width - 1) * 8; shift >= 0; shift -= 8) buffer.push_back(static_cast<std::byte>(value >> shift));
}

void align(Buffer& buffer, std::size_t alignment) {
  buffer.resize((buffer.size() + alignment - 1) / alignment * alignment);
}

template <typename T>
void store(Buffer& buffer, std::size_t offset, T value) {
  std::memcpy(buffer.data() + offset, &value, sizeof(value));
}

// A builder's failure is a broken test, not a result.
void require(bool condition) {
  if (!condition) std::abort();
}

constexpr std::array<std::string_view, 6> kCommon{"func_", "asm_", "exc_", "__", "tT", "long_"};

// The printable characters stand for themselves, the first six others for what is common in names.
std::array<std::string, 256> make_tokens() {
  std::array<std::string, 256> tokens;
  std::size_t next = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > ' ' && i <= '~') {
      tokens[i] = std::string(1, static_cast<char>(i));
    } else {
      tokens[i] = next < kCommon.size() ? std::string(kCommon[next]) : "unused" + std::to_string(next);
      ++next;
    }
  }
  return tokens;
}

Buffer pack_name(const std::string& name, const std::array<std::string, 256>& tokens, bool long_names) {
  Buffer packed;
  for (std::size_t at = 0; at < name.size();) {
    std::size_t best = static_cast<unsigned char>(name[at]);
    // They are the tokens 0 to 5, because no control character is printable.
    for (std::size_t i = 0; i < kCommon.size(); ++i) {
      if (kCommon[i].size() > tokens[best].size() && name.compare(at, kCommon[i].size(), kCommon[i]) == 0) best = i;
    }
    packed.push_back(static_cast<std::byte>(best));
    at += tokens[best].size();
  }
  Buffer result;
  if (long_names && packed.size() > 0x7f) {
    result.push_back(static_cast<std::byte>((packed.size() & 0x7f) | 0x80));
    result.push_back(static_cast<std::byte>(packed.size() >> 7));
  } else {
    require(packed.size() <= 0xff);
    result.push_back(static_cast<std::byte>(packed.size()));
  }
  append(result, packed);
  return result;
}

bool offsets_first(KallsymsLayout layout) {
  return layout == KallsymsLayout::kOffsetsFirstAbsolutePerCpu || layout == KallsymsLayout::kOffsetsFirstUnsigned;
}

bool absolute_per_cpu(KallsymsLayout layout) {
  return layout == KallsymsLayout::kOffsetsFirstAbsolutePerCpu || layout == KallsymsLayout::kOffsetsLastAbsolutePerCpu;
}

void append_offsets(Buffer& buffer, const std::vector<SyntheticSymbol>& symbols, std::uint64_t address,
                    const KallsymsOptions& options) {
  const std::uint64_t base = kSyntheticText;
  for (const SyntheticSymbol& symbol : symbols) {
    if (options.layout == KallsymsLayout::kOffsetsLastSelfRelative) {
      append_value(buffer, static_cast<std::int32_t>(symbol.address - (address + buffer.size())));
    } else if (!absolute_per_cpu(options.layout)) {
      append_value(buffer, static_cast<std::uint32_t>(symbol.address - base));
    } else if (symbol.address < base) {
      append_value(buffer, static_cast<std::int32_t>(symbol.address));
    } else {
      append_value(buffer, static_cast<std::int32_t>(base - symbol.address - 1));
    }
  }
  align(buffer, options.alignment);
  if (options.layout != KallsymsLayout::kOffsetsLastSelfRelative) append_value(buffer, base);
}

void append_sequences(Buffer& buffer, const std::vector<SyntheticSymbol>& symbols, std::size_t alignment) {
  std::vector<std::uint32_t> order(symbols.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return symbols[a].name < symbols[b].name; });
  for (const std::uint32_t index : order) append_big_endian(buffer, index, 3);
  align(buffer, alignment);
}

Buffer compress_lzma(Compression compression, Bytes content) {
  lzma_options_lzma options;
  require(!lzma_lzma_preset(&options, 6));
  lzma_stream stream = LZMA_STREAM_INIT;
  if (compression == Compression::kXz) {
    // The x86 branch filter, as scripts/xz_wrap.sh asks for.
    std::array<lzma_filter, 3> filters{lzma_filter{LZMA_FILTER_X86, nullptr}, lzma_filter{LZMA_FILTER_LZMA2, &options},
                                       lzma_filter{LZMA_VLI_UNKNOWN, nullptr}};
    require(lzma_stream_encoder(&stream, filters.data(), LZMA_CHECK_CRC32) == LZMA_OK);
  } else {
    require(lzma_alone_encoder(&stream, &options) == LZMA_OK);
  }
  Buffer packed(content.size() * 2 + 4096);
  stream.next_in = reinterpret_cast<const std::uint8_t*>(content.data());
  stream.avail_in = content.size();
  stream.next_out = reinterpret_cast<std::uint8_t*>(packed.data());
  stream.avail_out = packed.size();
  require(lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END);
  packed.resize(stream.total_out);
  lzma_end(&stream);
  return packed;
}

Buffer compress_gzip(Bytes content) {
  z_stream stream{};
  require(deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  Buffer packed(deflateBound(&stream, content.size()) + 64);
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  require(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

Buffer compress_bzip2(Bytes content) {
  Buffer packed(content.size() * 2 + 4096);
  auto size = static_cast<unsigned>(packed.size());
  char nothing = 0;  // libbz2 refuses a null pointer, even to no bytes.
  char* source = content.empty() ? &nothing : const_cast<char*>(reinterpret_cast<const char*>(content.data()));
  require(BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(packed.data()), &size, source,
                                   static_cast<unsigned>(content.size()), 9, 0, 0) == BZ_OK);
  packed.resize(size);
  return packed;
}

Buffer compress_zstd(Bytes content) {
  Buffer packed(ZSTD_compressBound(content.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  require(context != nullptr);
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 19);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);  // As zstd(1) does, which the build calls.
  const std::size_t size = ZSTD_compress2(context, packed.data(), packed.size(), content.data(), content.size());
  ZSTD_freeCCtx(context);
  require(!ZSTD_isError(size));
  packed.resize(size);
  return packed;
}

Buffer compress_lz4(Bytes content) {
  Buffer packed;
  append_value(packed, std::uint32_t{0x184c2102});
  constexpr std::size_t kBlock = std::size_t{8} << 20;
  for (std::size_t at = 0; at < content.size(); at += kBlock) {
    const Bytes block = content.subspan(at, std::min(kBlock, content.size() - at));
    Buffer out(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(block.size()))));
    const int size = LZ4_compress_HC(reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(out.data()),
                                     static_cast<int>(block.size()), static_cast<int>(out.size()), LZ4HC_CLEVEL_MAX);
    require(size > 0);
    out.resize(static_cast<std::size_t>(size));
    append_value(packed, static_cast<std::uint32_t>(out.size()));
    append(packed, out);
  }
  return packed;
}

std::uint32_t adler32_of(Bytes bytes) {
  return lzo_adler32(1, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

Buffer compress_lzo(Bytes content) {
  require(lzo_init() == LZO_E_OK);
  constexpr std::string_view kMagic("\x89LZO\x00\x0d\x0a\x1a\x0a", 9);
  Buffer packed;
  append(packed, as_bytes(kMagic));
  append_big_endian(packed, 0x1030, 2);  // lzop's version, the library's, the version needed.
  append_big_endian(packed, 0x2080, 2);
  append_big_endian(packed, 0x0940, 2);
  append_big_endian(packed, 3, 1);        // Method: LZO1X-999.
  append_big_endian(packed, 9, 1);        // Level.
  append_big_endian(packed, 0x03000001);  // Unix; Adler-32 of the unpacked blocks, which is lzop's default.
  append_big_endian(packed, 0100644);     // Mode and modification time.
  append_big_endian(packed, 0);
  append_big_endian(packed, 0);
  append_big_endian(packed, 0, 1);  // No name.
  append_big_endian(packed, adler32_of(Bytes(packed).subspan(kMagic.size())));
  constexpr std::size_t kBlock = std::size_t{256} << 10;
  Buffer work(LZO1X_999_MEM_COMPRESS);
  for (std::size_t at = 0; at < content.size(); at += kBlock) {
    const Bytes block = content.subspan(at, std::min(kBlock, content.size() - at));
    Buffer out(block.size() + block.size() / 16 + 128);
    lzo_uint size = out.size();
    require(lzo1x_999_compress(reinterpret_cast<const unsigned char*>(block.data()), block.size(),
                               reinterpret_cast<unsigned char*>(out.data()), &size, work.data()) == LZO_E_OK);
    const bool stored = size >= block.size();
    append_big_endian(packed, static_cast<std::uint32_t>(block.size()));
    append_big_endian(packed, static_cast<std::uint32_t>(stored ? block.size() : size));
    append_big_endian(packed, adler32_of(block));
    append(packed, stored ? block : Bytes(out).first(size));
  }
  append_big_endian(packed, 0);
  return packed;
}

}  // namespace

Buffer build_elf(const std::vector<SyntheticSection>& sections, bool with_section_headers) {
  const auto loaded = [](const SyntheticSection& section) { return (section.flags & SHF_ALLOC) != 0; };
  const auto segment_count = static_cast<std::size_t>(std::count_if(sections.begin(), sections.end(), loaded));
  Buffer file(sizeof(Elf64_Ehdr) + segment_count * sizeof(Elf64_Phdr));
  std::vector<Elf64_Shdr> section_headers(1);
  std::string names(1, '\0');
  std::size_t segment = 0;
  for (const SyntheticSection& section : sections) {
    align(file, 16);
    Elf64_Shdr header{};
    header.sh_name = static_cast<Elf64_Word>(names.size());
    header.sh_type = SHT_PROGBITS;
    header.sh_flags = section.flags;
    header.sh_addr = section.address;
    header.sh_offset = file.size();
    header.sh_size = section.content.size();
    section_headers.push_back(header);
    names += section.name + '\0';
    if (loaded(section)) {
      Elf64_Phdr program_header{};
      program_header.p_type = PT_LOAD;
      program_header.p_flags = section.flags & SHF_EXECINSTR ? PF_R | PF_X : PF_R | PF_W;
      program_header.p_offset = header.sh_offset;
      program_header.p_vaddr = header.sh_addr;
      program_header.p_paddr = header.sh_addr & 0x7fffffff;
      program_header.p_filesz = program_header.p_memsz = header.sh_size;
      store(file, sizeof(Elf64_Ehdr) + segment++ * sizeof(Elf64_Phdr), program_header);
    }
    append(file, section.content);
  }
  Elf64_Shdr names_header{};
  names_header.sh_name = static_cast<Elf64_Word>(names.size());
  names += std::string(".shstrtab") + '\0';
  names_header.sh_type = SHT_STRTAB;
  names_header.sh_offset = file.size();
  names_header.sh_size = names.size();
  section_headers.push_back(names_header);
  append(file, as_bytes(names));
  align(file, 16);

  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_entry = 0x1000000;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(segment_count);
  if (with_section_headers) {
    header.e_shoff = file.size();
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = static_cast<Elf64_Half>(section_headers.size());
    header.e_shstrndx = static_cast<Elf64_Half>(section_headers.size() - 1);
    append(file, std::as_bytes(std::span(section_headers)));
  }
  store(file, 0, header);
  return file;
}

Buffer encode_kallsyms(const std::vector<SyntheticSymbol>& symbols, std::uint64_t address,
                       const KallsymsOptions& options) {
  require(address % options.alignment == 0);
  const auto tokens = make_tokens();
  Buffer tables;
  const auto next_table = [&] { align(tables, options.alignment); };
  if (offsets_first(options.layout)) append_offsets(tables, symbols, address, options);
  next_table();
  append_value(tables, static_cast<std::uint32_t>(symbols.size()));
  next_table();
  const std::size_t names_at = tables.size();
  std::vector<std::uint32_t> markers;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (i % 256 == 0) markers.push_back(static_cast<std::uint32_t>(tables.size() - names_at));
    append(tables, pack_name(symbols[i].type + symbols[i].name, tokens, options.long_names));
  }
  next_table();
  append(tables, std::as_bytes(std::span(markers)));
  next_table();
  if (options.sequences && offsets_first(options.layout)) append_sequences(tables, symbols, options.alignment);
  const std::size_t tokens_at = tables.size();
  std::vector<std::uint16_t> token_index;
  for (const std::string& token : tokens) {
    token_index.push_back(static_cast<std::uint16_t>(tables.size() - tokens_at));
    append(tables, as_bytes(std::string_view(token.c_str(), token.size() + 1)));
  }
  next_table();
  append(tables, std::as_bytes(std::span(token_index)));
  next_table();
  if (!offsets_first(options.layout)) {
    append_offsets(tables, symbols, address, options);
    if (options.sequences) append_sequences(tables, symbols, options.alignment);
  }
  return tables;
}

std::vector<SyntheticSymbol> kernel_symbols(const KallsymsOptions& options) {
  std::vector<SyntheticSymbol> symbols;
  if (absolute_per_cpu(options.layout)) {
    symbols.push_back({0, 'A', "fixed_percpu_data"});
    symbols.push_back({0x1000, 'A', "gdt_page"});
  }
  symbols.push_back({kSyntheticText, 'T', "_stext"});
  symbols.push_back({kSyntheticText, 'T', "_text"});
  symbols.push_back({kSyntheticText, 't', "asm_exc_divide_error"});
  symbols.push_back({kSyntheticText + 0x20, 'T', "asm_exc_nmi"});
  symbols.push_back({kSyntheticText + 0x40, 'T', "asm_exc_page_fault"});
  symbols.push_back({kSyntheticText + 0x60, 'T', "asm_sysvec_reboot"});
  symbols.push_back({kSyntheticText + 0x80, 't', "__pfx_panic"});
  symbols.push_back({kSyntheticText + 0x90, 'T', "panic"});
  symbols.push_back({kSyntheticText + 0xc0, 't', "init_once"});
  symbols.push_back({kSyntheticText + 0xd0, 't', "init_once"});
  // Two tokens for a name with long_names would not show the two-byte length: no token covers its x's.
  symbols.push_back({kSyntheticText + 0xe0, 'T', "long_" + std::string(options.long_names ? 400 : 120, 'x')});
  for (int i = 0; i < 680; ++i) {
    symbols.push_back(
        {kSyntheticText + 0x100 + static_cast<std::uint64_t>(i) * 16, i % 3 ? 't' : 'T', "func_" + std::to_string(i)});
  }
  symbols.push_back({kSyntheticText + 0x4000, 'T', "_etext"});
  symbols.push_back({kSyntheticRodata, 'R', "linux_banner"});
  symbols.push_back({kSyntheticData, 'D', "panic_cpu"});
  symbols.push_back({kSyntheticData + 8, 'd', "panic_timer"});
  symbols.push_back({kSyntheticInitText, 'T', "_sinittext"});
  symbols.push_back({kSyntheticInitText, 'T', "start_kernel"});
  return symbols;
}

Buffer build_kernel(const KallsymsOptions& options) {
  Buffer rodata;
  append(rodata, as_bytes(kSyntheticBanner));
  append(rodata, as_bytes(std::string_view("\n\0", 2)));
  // What a look-alike of the token table's digits would be.
  append(rodata, as_bytes(std::string_view("0\0001\0002\0003\0004\0005\0006\0007\0008\0009\0", 20)));
  align(rodata, 64);
  rodata.insert(rodata.end(), 64, std::byte{0xa5});
  append(rodata, encode_kallsyms(kernel_symbols(options), kSyntheticRodata + rodata.size(), options));
  rodata.insert(rodata.end(), 64, std::byte{0x5a});
  constexpr std::uint64_t kText = SHF_ALLOC | SHF_EXECINSTR;
  return build_elf({{".text", kSyntheticText, kText, Buffer(0x4000, std::byte{0x90})},
                    {".rodata", kSyntheticRodata, SHF_ALLOC, std::move(rodata)},
                    {".data", kSyntheticData, SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR, Buffer(64)},
                    {".BTF", kSyntheticData + 0x1000, SHF_ALLOC, Buffer(32, std::byte{0xb7})},
                    {".init.text", kSyntheticInitText, kText, Buffer(0x100, std::byte{0xcc})},
                    {".comment", 0, 0, Buffer(16, std::byte{'c'})}});
}

Buffer compress(Compression compression, Bytes content) {
  Buffer packed;
  switch (compression) {
    case Compression::kNone:
      return {content.begin(), content.end()};
    case Compression::kGzip:
      return compress_gzip(content);
    case Compression::kXz:
    case Compression::kLzma:
      packed = compress_lzma(compression, content);
      break;
    case Compression::kZstd:
      packed = compress_zstd(content);
      break;
    case Compression::kLz4:
      packed = compress_lz4(content);
      break;
    case Compression::kBzip2:
      packed = compress_bzip2(content);
      break;
    case Compression::kLzo:
      packed = compress_lzo(content);
      break;
  }
  append_value(packed, static_cast<std::uint32_t>(content.size()));
  return packed;
}

Buffer build_bzimage(Bytes payload, const std::string& kernel_version) {
  constexpr std::size_t kSetupSects = 3;
  constexpr std::size_t kProtectedMode = (kSetupSects + 1) * 512;
  constexpr std::size_t kPayloadOffset = 0x80;
  constexpr std::size_t kVersionAt = 0x400;
  require(kernel_version.size() < kProtectedMode - kVersionAt);
  Buffer file(kProtectedMode + kPayloadOffset);
  store(file, 0x1f1, static_cast<std::uint8_t>(kSetupSects));
  store(file, 0x1fe, std::uint16_t{0xaa55});
  store(file, 0x200, std::uint16_t{0x6aeb});  // jmp over the header: it ends at 0x26c.
  std::memcpy(file.data() + 0x202, "HdrS", 4);
  store(file, 0x206, std::uint16_t{0x020f});
  store(file, 0x20e, static_cast<std::uint16_t>(kVersionAt - 0x200));
  store(file, 0x211, std::uint8_t{1});
  store(file, 0x230, std::uint32_t{0x200000});
  store(file, 0x236, std::uint16_t{0x7f});
  store(file, 0x248, static_cast<std::uint32_t>(kPayloadOffset));
  store(file, 0x24c, static_cast<std::uint32_t>(payload.size()));
  store(file, 0x260, std::uint32_t{0x3000000});
  std::memcpy(file.data() + kVersionAt, kernel_version.data(), kernel_version.size());
  append(file, payload);
  file.insert(file.end(), 64, std::byte{0});  // What follows the payload: the rest of the decompressor.
  return file;
}

}  // namespace panicroom::kernels::testing
