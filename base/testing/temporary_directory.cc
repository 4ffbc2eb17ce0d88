#include "base/testing/temporary_directory.h"

#include <stdlib.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace panicroom {

TemporaryDirectory::TemporaryDirectory() {
  // Short, because sockets are put there, and the path of one has at most 107 bytes.
  std::string name = (std::filesystem::temp_directory_path() / "prXXXXXX").native();
  if (::mkdtemp(name.data()) == nullptr)
    throw std::filesystem::filesystem_error("mkdtemp", name, std::error_code(errno, std::generic_category()));
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace panicroom
