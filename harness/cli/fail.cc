#include <fmt/core.h>

#include <cstdio>

#include "harness/cli/commands.h"
#include "harness/report/untrusted_text.h"

namespace panicroom::cli {

int exit_status_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kInvalidInput:
    case ErrorKind::kUnsupported:
      return kWrongInput;
    case ErrorKind::kCancelled:
      return kInterrupted;
    case ErrorKind::kHost:
      break;
  }
  return kHarnessError;
}

int fail(const Error& error) {
  fmt::print(stderr, "panicroom: error: {}\n", harness::escape_untrusted(error.message()));
  return exit_status_of(error);
}

}  // namespace panicroom::cli
