#include "harness/scenario/scenario.h"

namespace panicroom::harness {

std::string_view name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDumped:
      return "dumped";
    case Outcome::kDumpIncomplete:
      return "dump_incomplete";
    case Outcome::kDumpInvalid:
      return "dump_invalid";
    case Outcome::kCaptureFailed:
      return "capture_failed";
    case Outcome::kReset:
      return "reset";
    case Outcome::kHung:
      return "hung";
    case Outcome::kNoPanic:
      return "no_panic";
  }
  return "";
}

}  // namespace panicroom::harness
