// Whatever the bytes, the reader must keep its promises to the visitor: paths that stay inside, contents exactly as
// long as announced, limits kept. Mutations of compressed data rarely get deep, so the input is also tried as the
// data.tar of an otherwise sound package.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kernels/packages/deb_reader.h"
#include "kernels/packages/synthetic_deb.h"

namespace panicroom::kernels {
namespace {

constexpr std::uint64_t kMaxBytes = 1 << 20;

void require(bool condition) {
  if (!condition) std::abort();
}

class Checker : public DebVisitor {
 public:
  Result<bool> entry(const DebEntry& entry) override {
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
    left_ = wanted_ && entry.type == DebEntry::Type::kFile ? entry.size : 0;
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

void read_checked(Bytes deb) {
  DebLimits limits;
  limits.max_bytes = kMaxBytes;
  limits.max_entries = 1000;
  Checker checker;
  if (read_deb(deb, checker, limits)) checker.finish();
}

}  // namespace
}  // namespace panicroom::kernels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace panicroom;  // NOLINT(google-build-using-namespace)
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  kernels::read_checked(input);
  const auto version = as_bytes("2.0\n");
  const auto deb = kernels::make_ar(
      {{"debian-binary", {version.begin(), version.end()}}, {"data.tar", {input.begin(), input.end()}}});
  kernels::read_checked(Bytes(deb));
  return 0;
}
