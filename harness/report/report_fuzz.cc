// A report file that somebody else wrote: whatever it holds, it is read or refused, and what is made of it is
// well-formed, bounded and free of control characters.
#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "base/testing/require.h"
#include "harness/report/compare.h"
#include "harness/report/json.h"
#include "harness/report/junit.h"
#include "harness/report/ktap.h"
#include "harness/report/matrix.h"
#include "harness/report/summary.h"
#include "harness/report/untrusted_text.h"

namespace {

using panicroom::require;

bool is_clean(std::string_view text) {
  return panicroom::harness::escape_untrusted(text, panicroom::harness::Newlines::kKeep) == text;
}

void check(const panicroom::v1::Report& report) {
  using namespace panicroom::harness;  // NOLINT(google-build-using-namespace): a function of a fuzz target.
  require(is_clean(report_to_ktap(report)));
  require(is_clean(summary(report, {})));
  require(is_clean(matrix(report, false)));
  const auto unchanged = compare(report, report);
  require(!unchanged.regressed() && is_clean(render(unchanged)));
  const auto junit = report_to_junit(report);
  require(is_clean(junit));
  pugi::xml_document document;
  require(static_cast<bool>(document.load_string(junit.c_str())));
  require(document.select_nodes("//testcase").size() == static_cast<std::size_t>(report.runs_size()));
  const auto status = exit_status(report);
  require(status == 0 || status == 1 || status == 3);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  require(is_clean(panicroom::harness::escape_untrusted(text)));
  // Also as a guest's text, which needs no JSON around it.
  panicroom::v1::Report guest;
  auto& run = *guest.add_runs();
  run.set_scenario(std::string(text));
  run.set_detail(std::string(text));
  run.add_places()->set_place(std::string(text));
  check(guest);

  const auto report = panicroom::harness::report_from_json(text);
  if (!report) return 0;
  check(*report);
  const auto json = panicroom::harness::report_to_json(*report);
  require(json.has_value());
  const auto back = panicroom::harness::report_from_json(*json);
  require(back.has_value());
  require(google::protobuf::util::MessageDifferencer::Equals(*report, *back));
  return 0;
}
