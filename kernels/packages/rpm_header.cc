#include "kernels/packages/rpm_header.h"

#include <optional>
#include <string_view>

namespace panicroom::kernels {
namespace {

constexpr std::uint32_t kLeadMagic = 0xedabeedb;
constexpr std::uint32_t kHeaderMagic = 0x8eade801;  // With the format's version, 1.
constexpr std::uint64_t kLeadSize = 96;
constexpr std::uint64_t kLeadType = 6;
constexpr std::uint16_t kSourcePackage = 1;
constexpr std::uint64_t kIntroSize = 16;  // Magic, reserved, number of index entries, bytes of data.
constexpr std::uint64_t kEntrySize = 16;  // Tag, type, offset into the data, count.
constexpr std::uint64_t kMaxEntries = 1 << 16;

constexpr std::uint32_t kSignatureLongSize = 270;  // RPMSIGTAG_LONGSIZE: of header and payload, in bytes.
constexpr std::uint32_t kSignatureSize = 1000;     // RPMSIGTAG_SIZE.
constexpr std::uint32_t kArch = 1022;              // RPMTAG_ARCH.
constexpr std::uint32_t kPayloadFormat = 1124;     // RPMTAG_PAYLOADFORMAT.

constexpr std::uint32_t kInt32 = 4;
constexpr std::uint32_t kInt64 = 5;
constexpr std::uint32_t kString = 6;

std::optional<std::uint16_t> big_endian16(Bytes bytes, std::uint64_t offset) {
  const auto value = load<std::uint16_t>(bytes, offset);
  if (!value) return std::nullopt;
  return __builtin_bswap16(*value);
}
std::optional<std::uint32_t> big_endian32(Bytes bytes, std::uint64_t offset) {
  const auto value = load<std::uint32_t>(bytes, offset);
  if (!value) return std::nullopt;
  return __builtin_bswap32(*value);
}
std::optional<std::uint64_t> big_endian64(Bytes bytes, std::uint64_t offset) {
  const auto value = load<std::uint64_t>(bytes, offset);
  if (!value) return std::nullopt;
  return __builtin_bswap64(*value);
}

Error truncated(std::uint64_t file_size) {
  return invalid_input("truncated: the file ends within the RPM's headers, at {} bytes", file_size);
}

// One header structure: an index of tagged values and their data.
class Header {
 public:
  static Result<Header> read(Bytes file, std::uint64_t begin, std::uint64_t file_size) {
    const auto magic = big_endian32(file, begin);
    const auto entries = big_endian32(file, begin + 8);
    const auto data = big_endian32(file, begin + 12);
    if (!magic || !entries || !data) return truncated(file_size);
    if (*magic != kHeaderMagic) return invalid_input("not a sound RPM: there is no header at {:#x}", begin);
    if (*entries > kMaxEntries) return invalid_input("not a sound RPM: a header with {} entries", *entries);
    Header header;
    header.index_size_ = *entries * kEntrySize;
    header.size_ = kIntroSize + header.index_size_ + *data;
    if (header.size_ > kMaxRpmHeader) return invalid_input("not a sound RPM: a header of {} bytes", header.size_);
    const auto bytes = slice(file, begin, header.size_);
    if (!bytes) {
      if (begin + header.size_ > file_size) return truncated(file_size);
      return invalid_input("not a sound RPM: more than {} bytes of headers", kMaxRpmHeader);
    }
    header.bytes_ = *bytes;
    return header;
  }

  [[nodiscard]] std::uint64_t size() const { return size_; }

  [[nodiscard]] std::optional<std::uint64_t> number(std::uint32_t tag, std::uint32_t type) const {
    const auto at = find(tag, type);
    if (!at) return std::nullopt;
    if (type == kInt64) return big_endian64(bytes_, *at);
    return big_endian32(bytes_, *at);
  }
  [[nodiscard]] std::optional<std::string_view> text(std::uint32_t tag) const {
    const auto at = find(tag, kString);
    if (!at || *at >= bytes_.size()) return std::nullopt;
    const auto rest = as_text(bytes_.subspan(*at));
    const auto end = rest.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    return rest.substr(0, end);
  }

 private:
  // Where a tag's value begins in bytes_.
  [[nodiscard]] std::optional<std::uint64_t> find(std::uint32_t tag, std::uint32_t type) const {
    for (std::uint64_t at = kIntroSize; at < kIntroSize + index_size_; at += kEntrySize) {
      if (big_endian32(bytes_, at) != tag || big_endian32(bytes_, at + 4) != type) continue;
      return kIntroSize + index_size_ + *big_endian32(bytes_, at + 8);
    }
    return std::nullopt;
  }

  Bytes bytes_;
  std::uint64_t index_size_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace

bool is_rpm(Bytes file) { return big_endian32(file, 0) == kLeadMagic; }

Result<> check_rpm_headers(Bytes begin, std::uint64_t file_size) {
  if (!is_rpm(begin)) return invalid_input("not an RPM");
  if (begin.size() < kLeadSize) return truncated(file_size);
  if (big_endian16(begin, kLeadType) == kSourcePackage) {
    return unsupported("a source RPM: it holds no kernel image; name the binary package");
  }
  const auto signature = TRY(Header::read(begin, kLeadSize, file_size));
  constexpr std::uint64_t kAlignment = 8;  // The signature header is padded, the one behind it is not.
  const auto main_begin = (kLeadSize + signature.size() + kAlignment - 1) / kAlignment * kAlignment;
  const auto main = TRY(Header::read(begin, main_begin, file_size));

  constexpr std::size_t kMaxShown = 32;
  const auto format = main.text(kPayloadFormat).value_or("cpio");
  if (format != "cpio") return unsupported("an RPM of format '{}', not cpio", format.substr(0, kMaxShown));
  const auto arch = main.text(kArch).value_or("x86_64");
  if (arch != "x86_64" && arch != "noarch") {
    return unsupported("unsupported architecture: an RPM for {}, not x86_64", arch.substr(0, kMaxShown));
  }

  auto size = signature.number(kSignatureLongSize, kInt64);
  if (!size) size = signature.number(kSignatureSize, kInt32);
  if (!size) return {};  // The payload's own end has to tell.
  if (*size < main.size()) return invalid_input("not a sound RPM: shorter than its header by its own account");
  if (file_size - main_begin < *size) {
    return invalid_input("truncated: {} of the RPM's {} bytes are there", file_size, main_begin + *size);
  }
  return {};
}

}  // namespace panicroom::kernels
