// The page's own files, as they stand in template/.
#pragma once

#include <string>
#include <string_view>

namespace panicroom::harness {

std::string_view page_html();
std::string_view page_css();
// All scripts, in the order in which they need each other.
std::string page_scripts();

}  // namespace panicroom::harness
