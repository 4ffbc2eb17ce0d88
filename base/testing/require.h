// What a fuzz target promises.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace panicroom {

// Ends the process, as libFuzzer expects of a finding, if a promise is broken; says which, and where it stands.
inline void require(bool holds, const char* what = "a promise", const char* file = __builtin_FILE(),
                    int line = __builtin_LINE()) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: broken: %s\n", file, line, what);
  std::abort();
}

}  // namespace panicroom
