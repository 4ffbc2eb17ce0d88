#include "agent/initramfs/program.h"

#include <sstream>
#include <utility>

#include "base/file.h"
#include "base/subprocess.h"

namespace panicroom::agent {

Result<std::vector<std::string>> parse_ldd(const std::string& output) {
  std::vector<std::string> paths;
  std::istringstream lines(output);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string name, arrow, path;
    words >> name >> arrow >> path;
    if (arrow == "=>" && path == "not") return host_error("the library {} is not installed", name);
    if (arrow != "=>") path = name;
    // linux-vdso.so.1 is no file: the kernel brings it along.
    if (path.starts_with('/')) paths.push_back(path);
  }
  return paths;
}

Result<std::vector<ProgramFile>> program_with_libraries(const std::string& path) {
  // Not TRY among the values of an aggregate: where it returns, Clang 14 does not destroy those before it.
  auto program = TRY(read_file(path));
  std::vector<ProgramFile> files;
  files.push_back({path, std::move(program)});
  const auto ldd = TRY(run_process({"ldd", path}, {{"LC_ALL", "C"}}));
  if (ldd.exit_status != 0) return host_error("ldd {}: {}{}", path, ldd.err, ldd.out);
  for (const auto& library : TRY_CONTEXT(path, parse_ldd(ldd.out))) {
    auto content = TRY(read_file(library));
    files.push_back({library, std::move(content)});
  }
  return files;
}

}  // namespace panicroom::agent
