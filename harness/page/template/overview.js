"use strict";
// The verdict table: a row for each scenario, a column for each kernel, with a filter above it.

const RANK = { error: 3, fail: 2, pass: 1, skip: 0 };

function cell(page, indices) {
  const runs = indices.map((i) => page.report.runs[i]);
  const worst = indices.reduce((a, b) => (RANK[verdictOf(page.report.runs[b]).name] > RANK[verdictOf(page.report.runs[a]).name] ? b : a));
  const counts = new Map();
  for (const run of runs) counts.set(outcomeWord(run.outcome), (counts.get(outcomeWord(run.outcome)) || 0) + 1);
  const words = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => (runs.length > 1 ? `${count} ${name}` : name));
  return el("td", {}, el("a", { href: `#run-${worst + 1}` }, verdictMark(page.report.runs[worst]), " ", runs.length > 1 ? `${runs.length} trials: ` : "", words.join(", ")));
}

function overview(page) {
  const runs = page.report.runs;
  const scenarios = [...new Set(runs.map((run) => run.scenario || "unnamed"))];
  const kernels = [...new Set(runs.map(platform))];
  const at = new Map();
  runs.forEach((run, i) => {
    const key = JSON.stringify([run.scenario || "unnamed", platform(run)]);
    at.set(key, [...(at.get(key) || []), i]);
  });
  const rows = scenarios.map((scenario) => {
    const cells = kernels.map((kernel) => at.get(JSON.stringify([scenario, kernel])));
    const node = el("tr", {}, el("th", { scope: "row" }, scenario), cells.map((indices) => (indices ? cell(page, indices) : el("td", { class: "quiet" }, "not run"))));
    const verdicts = new Set(cells.flat().filter((i) => i !== undefined).map((i) => verdictOf(runs[i]).name));
    const text = [scenario, ...cells.flatMap((indices, i) => (indices ? [kernels[i], ...indices.map((index) => outcomeWord(runs[index].outcome))] : []))].join(" ").toLowerCase();
    return { node, verdicts, text };
  });
  const counts = {};
  for (const run of runs) counts[verdictOf(run).name] = (counts[verdictOf(run).name] || 0) + 1;
  const status = el("p", { class: "quiet", role: "status" });
  const search = el("input", { type: "search", id: "filter-text" });
  const boxes = Object.keys(VERDICTS).map((name) => ({ name, box: el("input", { type: "checkbox", id: `filter-${name}`, checked: true }) }));
  const apply = () => {
    const wanted = boxes.filter(({ box }) => box.checked).map(({ name }) => name);
    const text = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = wanted.some((name) => row.verdicts.has(name)) && row.text.includes(text);
      row.node.classList.toggle("hidden", !fits);
      shown += fits ? 1 : 0;
    }
    status.textContent = shown === rows.length ? "" : `${shown} of ${plural(rows.length, "scenario")} shown`;
  };
  for (const input of [search, ...boxes.map(({ box }) => box)]) input.addEventListener("input", apply);
  return [
    el("h2", { id: "overview-title" }, "Verdicts"),
    el("p", {}, list(Object.keys(VERDICTS).filter((name) => counts[name]).map((name) => `${counts[name]} ${name}`)) || "no trials", ` of ${plural(runs.length, "trial")}`),
    runs.length === 0 ? "" : [
      el("div", { class: "filters" }, el("fieldset", {}, el("legend", {}, "Show scenarios with"), boxes.map(({ name, box }) => el("label", { for: box.id }, box, " " + name))),
        el("label", { for: "filter-text" }, "Name, kernel or outcome: "), search, status),
      el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Verdicts of every scenario on every kernel" }, el("table", { class: "grid" },
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Scenario"), kernels.map((kernel) => el("th", { scope: "col" }, kernel)))), el("tbody", {}, rows.map((row) => row.node)))),
    ],
  ];
}
