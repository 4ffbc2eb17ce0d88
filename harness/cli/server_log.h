// The service's log on standard error.
#pragma once

#include "harness/service/service_log.h"

namespace panicroom::cli {

enum class LogFormat {
  kText,  // A time, a level, a sentence.
  kJson,  // An object a line, with the fields of each entry.
};

// Thread-safe, for the life of the process.
service::LogSink make_server_log(LogFormat format);

}  // namespace panicroom::cli
