// Whatever the bytes, the reader must keep its promises to the visitor: paths that stay inside, contents exactly as
// long as announced, limits kept. Mutations of compressed data rarely get deep, so the input is also tried as the
// data.tar of an otherwise sound Debian package, as the payload of an otherwise sound RPM, and as names of entries in
// both.
#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/testing/require.h"
#include "kernels/packages/package_reader.h"
#include "kernels/packages/synthetic_package.h"

namespace panicroom::kernels {
namespace {

constexpr std::uint64_t kMaxBytes = 1 << 20;

class Checker : public PackageVisitor {
 public:
  Result<bool> entry(const PackageEntry& entry) override {
    finish();
    require(!entry.path.empty() && entry.path.front() != '/' && entry.path.back() != '/');
    std::string_view rest = entry.path;
    while (!rest.empty()) {
      const auto slash = std::min(rest.find('/'), rest.size());
      const auto part = rest.substr(0, slash);
      require(!part.empty() && part != "." && part != "..");
      rest.remove_prefix(std::min(slash + 1, rest.size()));
    }
    total_ += entry.size;
    require(total_ <= kMaxBytes);
    wanted_ = !entry.path.ends_with('x');
    left_ = wanted_ && entry.type == PackageEntry::Type::kFile ? entry.size : 0;
    return wanted_;
  }
  Result<> content(Bytes chunk) override {
    require(wanted_ && chunk.size() <= left_);
    left_ -= chunk.size();
    return {};
  }
  void finish() const { require(left_ == 0); }

 private:
  std::uint64_t total_ = 0;
  std::uint64_t left_ = 0;
  bool wanted_ = false;
};

void read_checked(Bytes package) {
  PackageLimits limits;
  limits.max_bytes = kMaxBytes;
  limits.max_entries = 1000;
  Checker checker;
  if (read_package(package, checker, limits)) checker.finish();
}

std::vector<SyntheticEntry> entries_in(std::string_view text) {
  constexpr std::size_t kMaxEntries = 50;
  constexpr std::size_t kMaxPath = 2000;
  std::vector<SyntheticEntry> entries;
  while (!text.empty() && entries.size() < kMaxEntries) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    // libarchive's writer takes no empty path, and a path ends for it at a NUL.
    const auto path = line.substr(std::min<std::size_t>(2, line.size())).substr(0, kMaxPath);
    if (path.empty() || path.find('\0') != std::string_view::npos) continue;
    SyntheticEntry entry;
    entry.path = path;
    if (line[0] == 'd') entry.directory = true;
    if (line[0] == 'l') entry.symlink_to = path;
    if (line[0] != 'd' && line[0] != 'l')
      entry.content.resize(static_cast<unsigned char>(line[1]) * std::size_t{512}, 'c');
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace
}  // namespace panicroom::kernels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace panicroom;  // NOLINT(google-build-using-namespace)
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  kernels::read_checked(input);
  const auto version = as_bytes("2.0\n");
  const auto read_as_data = [&](std::vector<std::byte> data) {
    const auto deb =
        kernels::make_ar({{"debian-binary", {version.begin(), version.end()}}, {"data.tar", std::move(data)}});
    kernels::read_checked(Bytes(deb));
  };
  read_as_data({input.begin(), input.end()});
  const auto entries = kernels::entries_in(as_text(input));
  read_as_data(kernels::make_data_tar(entries, kernels::PackageCompression::kNone));
  const auto read_as_payload = [&](const std::vector<std::byte>& payload) {
    const auto rpm = kernels::make_rpm_around(payload, "x86_64", false);
    kernels::read_checked(Bytes(rpm));
  };
  read_as_payload({input.begin(), input.end()});
  read_as_payload(kernels::make_cpio(entries, kernels::PackageCompression::kNone));
  return 0;
}
