// What a server says of what it does, as a sentence and as fields that programs can look for.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace panicroom::service {

enum class LogLevel { kInfo, kWarning, kError };

struct LogEntry {
  LogLevel level = LogLevel::kInfo;
  std::string message;  // One line for people.
  std::vector<std::pair<std::string, std::string>>
      fields;  // "run" and "runs/17". May be a client's text: to be escaped.
};

// Called from any thread. May be empty.
using LogSink = std::function<void(const LogEntry& entry)>;

}  // namespace panicroom::service
