#include "hypervisor/qemu/guest_ram.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace panicroom::qemu {
namespace {

constexpr std::uint64_t kHoleBegin = 0xa0000;
constexpr std::uint64_t kHoleEnd = 0x100000;

bool within(const RamPiece& piece, Gpa at, std::uint64_t length) {
  return at >= piece.begin && at.value - piece.begin.value <= piece.bytes &&
         length <= piece.bytes - (at.value - piece.begin.value);
}

}  // namespace

std::vector<RamPiece> ram_of_pc(std::uint64_t memory_bytes) {
  constexpr std::uint64_t kMostInOnePiece = 0xe0000000;
  constexpr std::uint64_t kLowOfTwo = 0xc0000000;
  constexpr Gpa kHigh{0x100000000};
  if (memory_bytes <= kMostInOnePiece) return {{Gpa{0}, memory_bytes}};
  return {{Gpa{0}, kLowOfTwo}, {kHigh, memory_bytes - kLowOfTwo}};
}

bool is_ram(const std::vector<RamPiece>& pieces, Gpa at, std::uint64_t length) {
  return std::ranges::any_of(pieces, [&](const RamPiece& piece) { return within(piece, at, length); });
}

std::optional<std::uint64_t> parse_gpa2hva(std::string_view answer) {
  constexpr std::string_view kBefore = ") is 0x";
  const auto at = answer.find(kBefore);
  if (!answer.starts_with("Host virtual address for ") || at == std::string_view::npos) return std::nullopt;
  const auto digits = answer.substr(at + kBefore.size());
  std::uint64_t address = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address, 16);
  if (error != std::errc() || address == 0) return std::nullopt;
  return address;
}

bool GuestRam::covers(Gpa at, std::uint64_t length) const {
  const bool in_hole = at.value < kHoleEnd && at.value + length > kHoleBegin;
  return !in_hole && std::ranges::any_of(pieces_, [&](const Mapped& it) { return within(it.piece, at, length); });
}

Result<> GuestRam::read(Gpa at, std::span<std::byte> into) const {
  const auto mapped =
      std::ranges::find_if(pieces_, [&](const Mapped& it) { return within(it.piece, at, into.size()); });
  if (mapped == pieces_.end()) return invalid_input("{} bytes at {} are not all memory", into.size(), at);
  std::uint64_t from = mapped->host + (at.value - mapped->piece.begin.value);
  while (!into.empty()) {
    const iovec local{into.data(), into.size()};
    // An address of the other process's, which is never used as a pointer here.
    const iovec remote{reinterpret_cast<void*>(from), into.size()};  // NOLINT(performance-no-int-to-ptr)
    const ssize_t got = ::process_vm_readv(qemu_, &local, 1, &remote, 1, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "reading QEMU's memory");
    if (got == 0) return host_error("reading QEMU's memory: it ends {} bytes too early", into.size());
    into = into.subspan(static_cast<std::size_t>(got));
    from += static_cast<std::uint64_t>(got);
  }
  return {};
}

}  // namespace panicroom::qemu
