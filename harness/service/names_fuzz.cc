// What clients name: whatever it is, it leads nowhere out of a run's folder, and is the only name of what it names.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/testing/require.h"
#include "harness/service/listen_address.h"
#include "harness/service/run_name.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace panicroom;  // NOLINT(google-build-using-namespace): a function of a fuzz target.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto run = service::parse_run_name(text)) require(service::run_name(*run) == text);
  if (const auto name = service::parse_artifact_name(text)) {
    require(service::artifact_name(name->run, name->path) == text);
    require(name->path.is_relative() && name->path.lexically_normal() == name->path);
    for (const auto& part : name->path) require(part != ".." && part != "." && !part.empty());
  }
  if (const auto address = service::parse_listen_address(text)) require(address->target == text);
  return 0;
}
