#include "harness/cli/server_log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>
#include <nlohmann/json.hpp>

namespace panicroom::cli {
namespace {

spdlog::level::level_enum level_of(service::LogLevel level) {
  switch (level) {
    case service::LogLevel::kInfo:
      return spdlog::level::info;
    case service::LogLevel::kWarning:
      return spdlog::level::warn;
    case service::LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// The inside of a JSON object.
std::string members(const service::LogEntry& entry) {
  nlohmann::ordered_json object;
  object["message"] = entry.message;
  for (const auto& [key, value] : entry.fields) object[key] = value;
  const auto text = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

}  // namespace

service::LogSink make_server_log(LogFormat format) {
  const auto logger = std::make_shared<spdlog::logger>("server", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  const bool json = format == LogFormat::kJson;
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
      json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})" : "%Y-%m-%dT%H:%M:%SZ %l: %v",
      spdlog::pattern_time_type::utc));
  logger->flush_on(spdlog::level::info);
  return [logger, json](const service::LogEntry& entry) {
    // As a value: what is a client's text is no format.
    logger->log(level_of(entry.level), "{}", json ? members(entry) : entry.message);
  };
}

}  // namespace panicroom::cli
