// Whatever the text: an error with a message, or a point that can be written down again and means the same.
#include <cstdint>
#include <string>

#include "base/testing/require.h"
#include "kernels/points/point_spec.h"

namespace {

using panicroom::require;

using namespace panicroom::kernels;  // NOLINT(google-build-using-namespace): this file is the fuzz target alone.

std::string written(const SymbolPoint& p) { return p.symbol + "+" + std::to_string(p.offset); }
std::string written(const CallPoint& p) { return p.symbol + "/call:" + p.callee + "#" + std::to_string(p.ordinal); }
std::string written(const InstructionPoint& p) {
  return p.symbol + "/insn:\"" + p.text + "\"#" + std::to_string(p.ordinal);
}
std::string written(const ReturnPoint& p) { return p.symbol + "/return"; }
std::string written(const NamedPoint& p) { return p.name; }
std::string written(const PointSpec& spec) {
  return std::visit([](const auto& point) { return written(point); }, spec.what);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto spec = PointSpec::parse(text);
  if (!spec) {
    require(spec.error().kind() == panicroom::ErrorKind::kInvalidInput);
    require(!spec.error().message().empty() && spec.error().message().size() < 600);
    for (const char c : spec.error().message()) require(c >= 0x20 && c < 0x7f);
    return 0;
  }
  require(spec->text == text);
  const std::string canonical = written(*spec);
  // A text near the length limit may outgrow it in its long form.
  if (canonical.size() > 1024) return 0;
  const auto again = PointSpec::parse(canonical);
  require(again.has_value());
  require(again->what.index() == spec->what.index());
  require(written(*again) == canonical);
  return 0;
}
