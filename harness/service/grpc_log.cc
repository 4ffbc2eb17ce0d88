#include "harness/service/grpc_log.h"

#include <grpc/support/log.h>

#include <mutex>
#include <utility>

namespace panicroom::service {
namespace {

struct Sink {
  std::mutex mutex;
  LogSink log;
};

// Never destroyed: the library's threads may outlive main().
Sink& sink() {
  static auto* const kSink = new Sink;
  return *kSink;
}

void forward(gpr_log_func_args* args) {
  if (args->severity < GPR_LOG_SEVERITY_ERROR) return;
  const std::lock_guard lock(sink().mutex);
  if (!sink().log) return;
  sink().log({.level = LogLevel::kWarning, .message = args->message, .fields = {{"component", "grpc"}}});
}

}  // namespace

void set_grpc_log(LogSink log) {
  {
    const std::lock_guard lock(sink().mutex);
    sink().log = std::move(log);
  }
  gpr_set_log_function(forward);
}

}  // namespace panicroom::service
