#include "harness/page/template.h"

// template_files.S.
#define PAGE_FILE(name)                              \
  extern "C" {                                       \
  extern const char panicroom_page_##name##_begin[]; \
  extern const char panicroom_page_##name##_end[];   \
  }                                                  \
  static std::string_view name##_file() { return {panicroom_page_##name##_begin, panicroom_page_##name##_end}; }

PAGE_FILE(html)
PAGE_FILE(css)
PAGE_FILE(dom)
PAGE_FILE(words)
PAGE_FILE(model)
PAGE_FILE(timeline)
PAGE_FILE(trial)
PAGE_FILE(overview)
PAGE_FILE(main)

#undef PAGE_FILE

namespace panicroom::harness {

std::string_view page_html() { return html_file(); }
std::string_view page_css() { return css_file(); }

std::string page_scripts() {
  std::string scripts;
  for (const auto file :
       {dom_file(), words_file(), model_file(), timeline_file(), trial_file(), overview_file(), main_file()}) {
    scripts += file;
  }
  return scripts;
}

}  // namespace panicroom::harness
