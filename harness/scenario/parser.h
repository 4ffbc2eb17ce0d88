// Scenario files: YAML in, typed scenarios out, and every mistake in every file in one go. docs/scenarios.md is the
// grammar. Leaves out whether the host, the engine or the kernel can do what a scenario asks.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/scenario.h"

namespace panicroom::harness {

struct ParseResult {
  std::vector<Scenario> scenarios;      // Those without a mistake, in the order of files and of documents in a file.
  std::vector<Diagnostic> diagnostics;  // In the order of files and lines. Empty: everything is as it should be.
};

// One file's text: one scenario for each YAML document, or one for each combination of a document's matrix. `file` is
// what diagnostics call it; nothing is read from disk. The text may be anybody's: at most kMaxFileBytes of it are
// looked at, and memory and time are bounded by its size.
ParseResult parse(std::string_view text, const std::filesystem::path& file);

// Files, and folders with all *.yaml and *.yml below them in the order of their names. A path that is not there, a
// folder without scenarios and two scenarios of one name are diagnostics like any other. A file that is named twice
// counts once.
ParseResult load(std::span<const std::filesystem::path> paths);

}  // namespace panicroom::harness
