"use strict";
// The timeline: a table whose rows are moments, from top to bottom, with a drawing of all vCPUs' lanes in each row. What
// the drawing shows is also said in the row's text, so it is hidden from screen readers.

const laneWidth = (count) => (count <= 2 ? 190 : count <= 4 ? 130 : count <= 8 ? 60 : count <= 16 ? 32 : 18);
const MIDDLE = 12; // Where a row's own marks are, below its top.

function laneLines(row, count, width) {
  const nodes = [];
  row.lanes.forEach((state, cpu) => {
    const x = (cpu + 0.5) * width;
    const band = Math.min(16, width - 3);
    if (state.gone) return;
    if (state.held || state.alone) {
      nodes.push(draw("rect", { class: "heldband", x: x - band / 2, y: 0, width: band, height: "100%" }));
      nodes.push(...[-1, 1].map((side) => draw("line", { class: "heldedge", x1: x + (side * band) / 2, x2: x + (side * band) / 2, y1: 0, y2: "100%" })));
    }
    if (state.window) {
      const inner = band - 5;
      nodes.push(draw("rect", { class: "offband", x: x - inner / 2, y: 0, width: inner, height: "100%" }));
      nodes.push(...[-1, 1].map((side) => draw("line", { class: "offedge", x1: x + (side * inner) / 2, x2: x + (side * inner) / 2, y1: 0, y2: "100%" })));
    }
    if (state.capture) nodes.push(draw("line", { class: "capture", x1: x, x2: x, y1: 0, y2: "100%" }));
    else nodes.push(draw("line", { class: "lane" + (state.irqsOff && !state.stopped ? " noirq" : "") + (state.stopped || state.halted ? " halted" : ""), x1: x, x2: x, y1: 0, y2: "100%" }));
  });
  return nodes;
}

function arrow(row, width) {
  const from = ((row.cpu || 0) + 0.5) * width;
  const nmi = row.ipi.sentAs === "nmi" ? " nmi" : "";
  const nodes = [draw("circle", { class: "ipihead" + nmi, cx: from, cy: MIDDLE, r: 3.5 })];
  for (const target of row.ipi.targets || []) {
    const to = ((target.cpu || 0) + 0.5) * width;
    const side = to >= from ? 1 : -1;
    const dropped = target.deliveredAs === "dropped";
    const changed = target.deliveredAs !== row.ipi.sentAs;
    const end = dropped ? to - side * Math.min(width * 0.4, 26) : to - side * 4;
    if (to === from) {
      nodes.push(draw("circle", { class: "ipi" + nmi, cx: from, cy: MIDDLE, r: 6 }));
      continue;
    }
    nodes.push(draw("line", { class: "ipi" + nmi + (changed ? " changed" : ""), x1: from, y1: MIDDLE, x2: end, y2: MIDDLE }));
    if (dropped) {
      nodes.push(draw("path", { class: "dropped", d: `M${end - 4} ${MIDDLE - 4}l8 8m0 -8l-8 8` }));
    } else {
      const head = target.deliveredAs === "nmi" ? " nmi" : "";
      nodes.push(draw("path", { class: "ipihead" + head, d: `M${to} ${MIDDLE}l${-side * 8} -4.5v9z` }));
    }
    if (width >= 100 && changed && (row.ipi.targets || []).length <= 4) {
      const label = dropped ? "dropped" : "as " + target.deliveredAs;
      nodes.push(draw("text", { class: "halo", x: (from + to) / 2, y: MIDDLE - 3, "text-anchor": "middle" }, `${row.ipi.sentAs} → ${label}`));
    }
  }
  return nodes;
}

function marks(row, width) {
  if (row.glyph === "ipi") return arrow(row, width);
  if (row.cpus) return row.cpus.map((cpu) => marks({ glyph: row.glyph, cpu }, width));
  if (row.cpu === undefined || !row.glyph) return [];
  const x = (row.cpu + 0.5) * width;
  switch (row.glyph) {
    case "step":
      return [draw("circle", { class: "stepdot", cx: x, cy: MIDDLE, r: 8 }), draw("text", { class: "number", x, y: MIDDLE + 4 }, row.number)];
    case "inject":
      return [draw("path", { class: "inject", d: `M${x - 8} ${MIDDLE - 6}h16l-8 13z` })];
    case "stop":
      return [draw("rect", { class: "stopmark", x: x - 6, y: MIDDLE - 6, width: 12, height: 12 }), draw("path", { class: "stopmark", d: `M${x - 6} ${MIDDLE - 6}l12 12m0 -12l-12 12` })];
    case "jump":
      return [draw("path", { class: "jump", d: `M${x - 9} ${MIDDLE - 2}h5v-8h8v8h5l-9 11z` })];
    case "hold":
    case "off":
      return [draw("line", { class: row.glyph === "hold" ? "heldedge" : "offedge", x1: x - 9, x2: x + 9, y1: 1, y2: 1 })];
    case "release":
    case "on":
      return [draw("line", { class: row.glyph === "release" ? "heldedge" : "offedge", x1: x - 9, x2: x + 9, y1: "100%", y2: "100%" })];
    default:
      return [draw("circle", { class: "dot", cx: x, cy: MIDDLE, r: 4 })];
  }
}

function placeLabels(row, width) {
  if (width < 100 || !row.moved || row.glyph === "ipi") return [];
  const room = Math.floor((width / 2 - 14) / 6.7) * 2;
  return [...row.moved].filter(([cpu]) => cpu !== row.cpu || !row.glyph || row.glyph === "dot").map(([cpu, place]) =>
    draw("text", { class: "place halo", x: (cpu + 0.5) * width + 11, y: MIDDLE + 4 }, place.length > room ? place.slice(0, room - 1) + "…" : place));
}

function movedText(row) {
  if (!row.moved || row.moved.size === 0) return undefined;
  const byPlace = new Map();
  for (const [cpu, place] of row.moved) byPlace.set(place, [...(byPlace.get(place) || []), cpu]);
  const texts = [...byPlace].map(([place, numbers]) => `${cpus(numbers)} at ${place}`);
  const shown = texts.slice(0, 4);
  const rest = texts.slice(4);
  return [el("span", { class: "more mono" }, shown.join(" · ")),
    rest.length ? el("details", { class: "more mono" }, el("summary", {}, `and ${plural(rest.length, "more place")}`), rest.join(" · ")) : ""];
}

function timelineRow(row, count, width, base, onUnfold) {
  const picture = draw("svg", { width: count * width, "aria-hidden": "true", focusable: "false" }, laneLines(row, count, width),
    row.gap || row.folded ? [] : [placeLabels(row, width), marks(row, width)]);
  const drawing = el("td", { class: "draw" }, picture);
  if (row.gap) return el("tr", { class: "gap" }, el("td", { class: "time" }), drawing, el("td", { class: "what" }, `${span(row.gap)} later`));
  if (row.folded) {
    const lines = row.folded.filter((line) => !line.gap).length;
    return el("tr", { class: "console" }, el("td", { class: "time" }, clock(row.at)), drawing,
      el("td", { class: "what" }, el("button", { type: "button", on: { click: () => onUnfold(row) } }, plural(lines, "more console line")), ` until ${clock(row.until)} s`));
  }
  const id = row.sequence ? `${base}/ev-${row.sequence}` : undefined;
  return el("tr", { id, class: [row.key && "key", row.console && "console", row.agent && "agent", row.loud && "loud"].filter(Boolean).join(" ") },
    el("td", { class: "time" }, id ? el("a", { href: "#" + id }, clock(row.at)) : clock(row.at)), drawing,
    el("td", { class: "what" + (row.faint ? " quiet" : "") }, row.text, row.more ? el("span", { class: "more" }, row.more) : "", movedText(row)));
}

function legend() {
  const item = (nodes, text) => el("li", {}, draw("svg", { width: 34, height: 24, "aria-hidden": "true" }, nodes), text);
  const state = (changes) => laneLines({ lanes: [{ ...freshCpu(), ...changes }] }, 1, 34);
  const mark = (row) => [...state({}), ...marks({ cpu: 0, ...row }, 34)];
  const sent = (deliveredAs, sentAs) => arrow({ cpu: 0, ipi: { sentAs, targets: [{ cpu: 1, deliveredAs }] } }, 17);
  return el("ul", { class: "legend", "aria-label": "Legend of the drawing" },
    item(state({}), "runs"), item(state({ irqsOff: true }), "interrupts were off when last looked at"), item(state({ window: true, irqsOff: true }), "spins with interrupts off"),
    item(state({ held: true }), "held"), item(state({ stopped: true }), "stopped or halted"), item(state({ capture: true }), "capture kernel"),
    item(mark({ glyph: "step", number: 1 }), "step"), item(mark({ glyph: "inject" }), "injection"), item(mark({ glyph: "stop" }), "is stopped"), item(mark({ glyph: "jump" }), "jump"),
    item(sent("nmi", "nmi"), "IPI: an NMI"), item(sent("fixed", "fixed"), "IPI: an interrupt"), item(sent("fixed", "nmi"), "delivered as another kind"), item(sent("dropped", "nmi"), "dropped"));
}

function timeline(run, events, base) {
  const { count, rows } = rowsOf(run, events);
  const width = laneWidth(count);
  const body = el("tbody");
  let shown = folded(rows);
  const show = () => body.replaceChildren(...shown.map((row) => timelineRow(row, count, width, base, unfold)));
  const unfold = (row) => {
    const at = shown.indexOf(row);
    shown.splice(at, 1, ...row.folded);
    show();
    const first = body.rows[at].querySelector("a");
    if (first) first.focus();
  };
  show();
  const head = draw("svg", { width: count * width, height: 18, "aria-hidden": "true" },
    Array.from({ length: count }, (_, cpu) => draw("text", { x: (cpu + 0.5) * width, y: 13, "text-anchor": "middle" }, width >= 60 ? `CPU ${cpu}` : cpu)));
  const drawColumn = el("th", { scope: "col" }, head, el("span", { class: "skip" }, "The CPUs' lanes, drawn"));
  drawColumn.style.width = count * width + "px";
  const table = el("table", { class: "lanes" },
    el("caption", {}, `From top to bottom, with a lane for each of ${plural(count, "CPU")}. ${plural(rows.filter((row) => !row.gap).length, "moment")}; the distances are not to scale.`),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Time, s"), drawColumn, el("th", { scope: "col" }, "What happened"))), body);
  if (count * width > 380) table.style.minWidth = count * width + 420 + "px";
  return {
    node: el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Timeline" }, table),
    // Makes sure that the row of that event is there, and gives it.
    reveal(sequence) {
      const hidden = shown.find((row) => row.folded && row.folded.some((line) => line.sequence === sequence));
      if (hidden) {
        shown.splice(shown.indexOf(hidden), 1, ...hidden.folded);
        show();
      }
      return document.getElementById(`${base}/ev-${sequence}`);
    },
    all() {
      shown = rows;
      show();
    },
  };
}
