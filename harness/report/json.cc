#include "harness/report/json.h"

#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/json_util.h>

#include "harness/report/untrusted_text.h"

namespace panicroom::harness {

using google::protobuf::FieldDescriptor;

void change_strings(google::protobuf::Message& message, const std::function<std::string(std::string_view)>& change) {
  const auto& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> set_fields;
  reflection.ListFields(message, &set_fields);
  for (const auto* field : set_fields) {
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        change_strings(*(field->is_repeated() ? reflection.MutableRepeatedMessage(&message, field, i)
                                              : reflection.MutableMessage(&message, field)),
                       change);
      } else if (field->type() == FieldDescriptor::TYPE_STRING && field->is_repeated()) {
        reflection.SetRepeatedString(&message, field, i, change(reflection.GetRepeatedString(message, field, i)));
      } else if (field->type() == FieldDescriptor::TYPE_STRING) {
        reflection.SetString(&message, field, change(reflection.GetString(message, field)));
      }
    }
  }
}

void make_utf8(google::protobuf::Message& message) { change_strings(message, replace_invalid_utf8); }

Result<std::string> report_to_json(const v1::Report& report) {
  v1::Report readable = report;
  make_utf8(readable);
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(readable, &json, options);
  if (!status.ok()) return host_error("the report has no JSON form: {}", status.ToString());
  return json;
}

Result<v1::Report> report_from_json(std::string_view text) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  // The parser also complains on stderr about what its status says already.
  const google::protobuf::LogSilencer silence;
  v1::Report report;
  const auto status = google::protobuf::util::JsonStringToMessage({text.data(), text.size()}, &report, options);
  if (!status.ok()) return invalid_input("not a panicroom.v1.Report in JSON: {}", escape_untrusted(status.ToString()));
  return report;
}

}  // namespace panicroom::harness
