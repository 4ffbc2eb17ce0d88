#include "harness/page/page.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <cerrno>
#include <map>
#include <string_view>

#include "harness/page/template.h"

namespace panicroom::harness {
namespace {

// A number that what is shown cannot have known.
Result<std::string> make_nonce() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return errno_error(errno, "getting random bytes");
  std::string nonce;
  for (const unsigned byte : bytes) nonce += fmt::format("{:02x}", byte);
  return nonce;
}

// Puts values in the place of {{names}}. What a value holds is not looked at.
std::string fill_in(std::string_view page, const std::map<std::string_view, std::string_view>& values) {
  std::string result;
  while (true) {
    const auto begin = page.find("{{");
    const auto end = begin == std::string_view::npos ? begin : page.find("}}", begin);
    if (end == std::string_view::npos) return result.append(page);
    result += page.substr(0, begin);
    const auto value = values.find(page.substr(begin + 2, end - begin - 2));
    if (value != values.end()) result += value->second;
    page.remove_prefix(end + 2);
  }
}

}  // namespace

Result<std::string> report_page(const v1::Report& report, const std::filesystem::path& folder,
                                const PageLimits& limits) {
  const auto nonce = TRY(make_nonce());
  const auto data = TRY(page_data(report, folder, limits));
  const auto scripts = page_scripts();
  return fill_in(page_html(), {{"nonce", nonce}, {"css", page_css()}, {"js", scripts}, {"data", data}});
}

}  // namespace panicroom::harness
