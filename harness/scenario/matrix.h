// `matrix:`: one document that stands for many scenarios, one for each combination of its axes' values. Works on the
// YAML tree alone: what a combination's document means is read as if it had been written out.
#pragma once

#include <string>
#include <vector>

#include "harness/scenario/diagnostic.h"
#include "harness/scenario/yaml_document.h"

namespace panicroom::harness {

inline constexpr std::size_t kMaxAxes = 8;
inline constexpr std::size_t kMaxCombinations = 1000;
// Of all combinations of one document together.
inline constexpr std::size_t kMaxExpandedNodes = 200'000;
// Of a text that references were put into.
inline constexpr std::size_t kMaxExpandedText = 4096;

struct Combination {
  std::string text;  // "stop: drop, target: idle"
  // Without `matrix`, with every reference replaced, and with those rows of `expect` that are about it, in which only
  // the kernel is left of `when`. What came out of the matrix keeps its place there.
  YamlNode document;
};

bool has_matrix(const YamlNode& document);

// The documents that a document with `matrix:` stands for, the last axis changing fastest. Empty if the matrix or what
// refers to it has a mistake; those are reported, each once.
std::vector<Combination> expand(const YamlNode& document, Diagnostics& diagnostics);

}  // namespace panicroom::harness
