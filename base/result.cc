#include "base/result.h"

#include <system_error>

namespace panicroom {

Error errno_error(int errno_value, std::string_view what) {
  return host_error("{}: {}", what, std::generic_category().message(errno_value));
}

}  // namespace panicroom
