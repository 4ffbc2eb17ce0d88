#include "harness/director/capture_image_check.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/bytes.h"

namespace panicroom::harness {
namespace {

using kernels::kPurgatoryDigestBytes;
using kernels::kPurgatoryRegionBytes;
using kernels::kPurgatoryRegions;

using Digest = std::array<std::byte, kPurgatoryDigestBytes>;

// A capture kernel and its initramfs are some tens of megabytes; a table that says more is not one.
constexpr std::uint64_t kMostBytes = 1U << 30;
constexpr std::size_t kPieceBytes = 16U << 20;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    good_ = context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }
  void add(Bytes bytes) { good_ = good_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1; }
  Result<Digest> finish() {
    Digest digest;
    unsigned length = 0;
    good_ = good_ && EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()), &length) == 1;
    if (!good_ || length != digest.size()) return host_error("libcrypto cannot compute a SHA-256 digest");
    return digest;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
  bool good_ = false;
};

struct Region {
  std::uint64_t start;
  std::uint64_t length;
};

// The table's regions, or nothing if they are not sound.
std::optional<std::vector<Region>> read_regions(Bytes table) {
  std::vector<Region> regions;
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < kPurgatoryRegions; ++i) {
    const auto region = load<Region>(table, i * kPurgatoryRegionBytes);
    if (!region || region->length > kMostBytes - total) return std::nullopt;
    total += region->length;
    if (region->length > 0) regions.push_back(*region);
  }
  return regions;
}

// False if it is not there.
Result<bool> read_if_memory(const PhysicalMemory& memory, Gpa at, std::span<std::byte> into) {
  auto read = memory.read(at, into);
  if (!read && read.error().kind() == ErrorKind::kInvalidInput) return false;
  if (!read) return std::move(read).error();
  return true;
}

}  // namespace

Result<std::optional<std::uint64_t>> CaptureImageCheck::at_jump(Gpa entry, const PhysicalMemory& memory) {
  constexpr std::optional<std::uint64_t> kByTheGuest;
  seen_.clear();
  if (!purgatory_ || entry.value < purgatory_->entry) return kByTheGuest;
  const Gpa begin{entry.value - purgatory_->entry};
  std::vector<std::byte> present(static_cast<std::size_t>(purgatory_->size));
  if (!TRY(read_if_memory(memory, begin, present))) return kByTheGuest;
  if (present != proven_) {
    seen_ = std::move(present);
    return kByTheGuest;
  }

  const auto table = slice(present, purgatory_->regions, kPurgatoryRegions * kPurgatoryRegionBytes);
  const auto regions = table ? read_regions(*table) : std::nullopt;
  if (!regions || regions->empty()) return kByTheGuest;
  Sha256 sha256;
  std::uint64_t total = 0;
  std::vector<std::byte> piece;
  for (const auto& region : *regions) {
    for (std::uint64_t done = 0; done < region.length; done += piece.size()) {
      piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(region.length - done, kPieceBytes)));
      if (!TRY(read_if_memory(memory, Gpa{region.start + done}, piece))) return kByTheGuest;
      sha256.add(piece);
    }
    total += region.length;
  }
  const auto digest = TRY(sha256.finish());
  const auto expected = slice(present, purgatory_->digest, kPurgatoryDigestBytes);
  if (!expected || !std::ranges::equal(*expected, digest)) return kByTheGuest;

  // An empty list, and the digest of nothing.
  const std::vector<std::byte> no_regions(table->size());
  const auto of_nothing = TRY(Sha256().finish());
  TRY(memory.write(Gpa{begin.value + purgatory_->regions}, no_regions));
  TRY(memory.write(Gpa{begin.value + purgatory_->digest}, of_nothing));
  return total;
}

void CaptureImageCheck::passed() {
  if (!seen_.empty()) proven_ = std::exchange(seen_, {});
}

}  // namespace panicroom::harness
