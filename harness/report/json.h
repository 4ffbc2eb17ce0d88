// The report in protobuf's JSON mapping (lowerCamelCase names, enums by name), as `--json` writes it and `panicroom
// report` reads it back.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "panicroom/v1/report.pb.h"

namespace panicroom::harness {

// Puts `change(text)` in the place of every string of the message, and of the messages in it. As deep as the schema
// nests.
void change_strings(google::protobuf::Message& message, const std::function<std::string(std::string_view)>& change);

// Makes every string of the message valid UTF-8: other bytes become U+FFFD.
void make_utf8(google::protobuf::Message& message);

// Indented, with zeros and empty lists written out. Bytes of strings that are not UTF-8 become U+FFFD. kHost if a value
// has no JSON form (a duration out of protobuf's range).
Result<std::string> report_to_json(const v1::Report& report);

// Fields and enumerators that this program does not know are ignored. kInvalidInput if the text is not JSON of a
// Report; protobuf's parser bounds the nesting.
Result<v1::Report> report_from_json(std::string_view text);

}  // namespace panicroom::harness
