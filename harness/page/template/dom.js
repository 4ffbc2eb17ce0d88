"use strict";
// Elements, and values as people read them. Everything from the report goes through textContent: nothing is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, ...children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === "") continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}
const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const draw = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// protobuf's Duration in JSON: "1.250s".
const seconds = (duration) => (duration ? parseFloat(duration) || 0 : 0);
const clock = (s) => s.toFixed(4);
const span = (s) => (s >= 1 ? s.toFixed(2) + " s" : s >= 0.001 ? (s * 1000).toFixed(1) + " ms" : (s * 1e6).toFixed(0) + " µs");
function hex(decimal) {
  try {
    return "0x" + BigInt(decimal || 0).toString(16);
  } catch {
    return String(decimal);
  }
}
function bytes(decimal) {
  const value = Number(decimal || 0);
  return value >= 1 << 20 && value % (1 << 20) === 0 ? value / (1 << 20) + " MiB" : value + " bytes";
}
const plural = (count, word, many) => `${count} ${count === 1 ? word : many || word + "s"}`;
function list(words) {
  return words.length < 2 ? words.join("") : words.slice(0, -1).join(", ") + " and " + words[words.length - 1];
}
// 0, 1, 2, 5 → "0 to 2 and 5".
function cpus(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const parts = [];
  for (let i = 0; i < sorted.length; ) {
    let end = i;
    while (end + 1 < sorted.length && sorted[end + 1] === sorted[end] + 1) ++end;
    if (end - i >= 2) parts.push(`${sorted[i]} to ${sorted[end]}`);
    else parts.push(...sorted.slice(i, end + 1).map(String));
    i = end + 1;
  }
  return (sorted.length === 1 ? "CPU " : "CPUs ") + list(parts);
}
const word = (enumerator, prefix) => String(enumerator || "").replace(prefix, "").toLowerCase();
const outcomeWord = (outcome) => {
  const name = word(outcome, "OUTCOME_");
  return !name || name === "unspecified" ? "no outcome" : name;
};
function verdictOf(run) {
  const name = word(run.verdict, "VERDICT_");
  if (run.undecided) return { name: "error", label: "NOT DECIDED", class: "error" };
  if (name === "pass") return { name, label: "pass", class: "pass" };
  if (name === "fail") return { name, label: "FAIL", class: "fail" };
  if (name === "skip") return { name, label: "skip", class: "skipped" };
  return { name: "error", label: "ERROR", class: "error" };
}
const verdictMark = (run) => el("span", { class: "verdict " + verdictOf(run).class }, verdictOf(run).label);
const platform = (run) =>
  (run.kernelRelease || "unknown kernel") +
  (run.captureKernelRelease && run.captureKernelRelease !== run.kernelRelease ? ", capture " + run.captureKernelRelease : "") +
  (run.engine ? ", " + run.engine : "");
// A file of the trial beside the page. Each part is encoded, so that no name can be another kind of address.
const fileLink = (run, name) => {
  const parts = (run.artifacts || "").split("/").filter((part) => part && part !== "." && part !== "..");
  return el("a", { href: "./" + [...parts, name].map(encodeURIComponent).join("/") }, [...parts, name].join("/"));
};
