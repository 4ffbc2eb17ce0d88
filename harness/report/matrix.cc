#include "harness/report/matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "harness/report/tally.h"
#include "harness/report/untrusted_text.h"
#include "harness/report/words.h"

namespace panicroom::harness {
namespace {

constexpr std::size_t kMaxColumns = 120;
constexpr std::size_t kGap = 2;
constexpr std::size_t kMaxLabel = 100;  // Columns of a kernel's name; a report is anybody's file.
constexpr std::size_t kMaxCells = 100'000;

struct Cell {
  std::string text = "-";  // As it is printed, colours included.
  std::size_t width = 1;   // In columns.
};

// "dumped" or "20/20 dumped, ..."
std::string outcomes(const RunGroup& trials) {
  std::string text;
  for (const auto& [word, count] : outcome_counts(trials)) {
    if (trials.size() == 1) return word;
    text += text.empty() ? fmt::format("{}/{} {}", count, trials.size(), word) : fmt::format(", {} {}", count, word);
  }
  return text;
}

Cell cell_of(const RunGroup& trials, bool colour) {
  const auto verdict = worst_verdict(trials);
  std::string rest;
  if (verdict == v1::VERDICT_PASS || verdict == v1::VERDICT_FAIL) rest = outcomes(trials);
  if (verdict == v1::VERDICT_ERROR && trials.size() > 1) {
    const auto errors = std::count_if(trials.begin(), trials.end(),
                                      [](const auto* run) { return settled_verdict(*run) == v1::VERDICT_ERROR; });
    rest = fmt::format("{}/{}", errors, trials.size());
  }
  if (verdict == v1::VERDICT_PASS) return {rest, columns(rest)};
  if (!rest.empty()) rest = " " + rest;
  return {verdict_label(verdict, colour) + rest, columns(verdict_label(verdict, false) + rest)};
}

// Rows and columns in the order in which the report first has them.
struct Table {
  std::vector<std::string> kernels;
  std::vector<std::string> scenarios;
  std::map<std::pair<std::size_t, std::size_t>, Cell> cells;  // By kernel, then by scenario; not all are there.

  [[nodiscard]] std::vector<Cell> row(std::size_t kernel) const {
    std::vector<Cell> row(scenarios.size());
    for (auto cell = cells.lower_bound({kernel, 0}); cell != cells.end() && cell->first.first == kernel; ++cell) {
      row[cell->first.second] = cell->second;
    }
    return row;
  }
};

// The index of the key's label, which is added if it is new.
template <typename Key>
std::size_t index_of(std::map<Key, std::size_t>& indices, std::vector<std::string>& labels, const Key& key,
                     const std::string& label) {
  const auto [found, added] = indices.try_emplace(key, labels.size());
  if (added) labels.push_back(label);
  return found->second;
}

Table table_of(const v1::Report& report, bool colour) {
  // The release alone is enough for a row's name if nothing else differs.
  std::set<std::string> engines;
  bool other_capture = false;
  for (const auto& run : report.runs()) {
    engines.insert(run.engine());
    other_capture = other_capture || run.capture_kernel_release() != run.kernel_release();
  }
  const bool short_names = engines.size() == 1 && !other_capture;
  Table table;
  std::map<std::string, std::size_t> kernels;
  std::map<std::pair<std::string, std::string>, std::size_t> scenarios;
  for (const auto& trials : group_by_scenario(report)) {
    const auto& run = *trials.front();
    const auto kernel = platform(run);
    const auto label = short_names && !run.kernel_release().empty() ? escape_untrusted(run.kernel_release()) : kernel;
    const auto row = index_of(kernels, table.kernels, kernel, shorten(label, kMaxLabel));
    const auto column =
        index_of(scenarios, table.scenarios, {run.file(), run.scenario()}, escape_untrusted(run.scenario()));
    table.cells.insert_or_assign({row, column}, cell_of(trials, colour));
  }
  return table;
}

std::size_t widest(const std::vector<std::string>& labels) {
  std::size_t width = 0;
  for (const auto& label : labels) width = std::max(width, columns(label));
  return width;
}

// The width of each column under these headings.
std::vector<std::size_t> column_widths(const Table& table, const std::vector<std::string>& headings) {
  std::vector<std::size_t> widths;
  widths.reserve(headings.size());
  for (const auto& heading : headings) widths.push_back(columns(heading));
  for (const auto& [place, cell] : table.cells) widths[place.second] = std::max(widths[place.second], cell.width);
  return widths;
}

std::size_t total(const std::vector<std::size_t>& widths) {
  std::size_t sum = 0;
  for (const auto width : widths) sum += kGap + width;
  return sum;
}

// One line, without the spaces that would stand at its end.
std::string line(const std::string& label, std::size_t label_width, const std::vector<Cell>& cells,
                 const std::vector<std::size_t>& widths) {
  std::string text = padded(label, label_width);
  std::size_t missing = 0;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    text += std::string(missing + kGap, ' ') + cells[i].text;
    missing = widths[i] - cells[i].width;
  }
  return text + "\n";
}

}  // namespace

std::string matrix(const v1::Report& report, bool colour) {
  const Table table = table_of(report, colour);
  if (table.kernels.size() < 2) return {};
  if (table.kernels.size() * table.scenarios.size() > kMaxCells) {
    return fmt::format("{} kernels and {} scenarios: too many for a table\n", table.kernels.size(),
                       table.scenarios.size());
  }
  const auto label_width = std::max(widest(table.kernels), std::size_t{6});
  auto headings = table.scenarios;
  auto widths = column_widths(table, headings);
  const bool numbered = label_width + total(widths) > kMaxColumns;
  if (numbered) {
    for (std::size_t i = 0; i < headings.size(); ++i) headings[i] = fmt::format("[{}]", i + 1);
    widths = column_widths(table, headings);
  }
  std::vector<Cell> heads;
  heads.reserve(headings.size());
  for (const auto& heading : headings) heads.push_back({heading, columns(heading)});
  std::string text = line("kernel", label_width, heads, widths);
  for (std::size_t i = 0; i < table.kernels.size(); ++i) {
    text += line(table.kernels[i], label_width, table.row(i), widths);
  }
  if (!numbered) return text;
  const auto number_width = headings.back().size();
  for (std::size_t i = 0; i < headings.size(); ++i) {
    text += fmt::format("{}  {}\n", padded(headings[i], number_width), table.scenarios[i]);
  }
  return text;
}

}  // namespace panicroom::harness
