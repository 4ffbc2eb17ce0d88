#include "harness/service/grpc_status.h"

#include <string_view>

#include "panicroom/v1/error_details.pb.h"

namespace panicroom::service {
namespace {

constexpr const char* kBadRequestUrl = "type.googleapis.com/google.rpc.BadRequest";
// Of a message: metadata, which the details are, is bounded in size.
constexpr std::size_t kMaxDetailBytes = 4096;

std::string_view shortened(std::string_view text, std::size_t limit) { return text.substr(0, limit); }

}  // namespace

grpc::Status bad_request(const std::vector<Violation>& violations) {
  v1::BadRequest details;
  std::size_t bytes = 0;
  for (const auto& violation : violations) {
    const auto description = shortened(violation.description, 500);
    bytes += violation.field.size() + description.size() + 16;
    if (bytes > kMaxDetailBytes && details.field_violations_size() > 0) break;
    auto& added = *details.add_field_violations();
    added.set_field(violation.field);
    added.set_description(std::string(description));
  }
  std::string message = violations.empty() ? "the request is wrong"
                                           : fmt::format("{}: {}", violations[0].field, violations[0].description);
  if (violations.size() > 1) message += fmt::format(" (and {} more)", violations.size() - 1);
  message = shortened(message, 1000);
  v1::ErrorStatus status;
  status.set_code(grpc::StatusCode::INVALID_ARGUMENT);
  status.set_message(message);
  auto& any = *status.add_details();
  any.set_type_url(kBadRequestUrl);
  any.set_value(details.SerializeAsString());
  return {grpc::StatusCode::INVALID_ARGUMENT, message, status.SerializeAsString()};
}

std::vector<Violation> violations_of(const grpc::Status& status) {
  std::vector<Violation> violations;
  v1::ErrorStatus details;
  if (!details.ParseFromString(status.error_details())) return violations;
  for (const auto& detail : details.details()) {
    v1::BadRequest bad_request;
    if (detail.type_url() != kBadRequestUrl || !bad_request.ParseFromString(detail.value())) continue;
    for (const auto& violation : bad_request.field_violations()) {
      violations.push_back({.field = violation.field(), .description = violation.description()});
    }
  }
  return violations;
}

grpc::Status internal(const Error& error, const LogSink& log) {
  if (log) log({.level = LogLevel::kError, .message = error.message(), .fields = {}});
  return {grpc::StatusCode::INTERNAL, "the server could not do it; its log says why"};
}

}  // namespace panicroom::service
