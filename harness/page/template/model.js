"use strict";
// From a trial's events to the rows of its timeline: what happened, and how each vCPU was while it did.

const MAX_ROWS = 4000;
const LOUD = /not syncing|\bBUG:|\bOops:|Out of memory|Linux version|general protection|LOCKUP|soft lockup|detected stall/;

function vcpusOf(run, events) {
  const started = events.find((event) => event.trialStarted);
  let count = started ? started.trialStarted.vcpus || 0 : 0;
  const see = (cpu) => (count = Math.max(count, Number.isInteger(cpu) && cpu < 1024 ? cpu + 1 : 0));
  if (!started) {
    for (const place of run.places || []) see(place.cpu || 0);
    for (const stage of run.stages || []) see(stage.cpu ?? 0);
  }
  return Math.max(1, Math.min(count, 1024));
}

// protobuf's JSON leaves out zeros: a CPU that is not there is CPU 0, but for an event's own `cpu`.
// Without an event stream (an older report, or one of very many trials), what report.json has is shown as if it were one.
function eventsOf(run) {
  const events = [];
  const add = (at, cpu, what) => events.push({ at, cpu: cpu >= 0 ? cpu : undefined, ...what });
  for (const stage of run.stages || []) add(stage.at, stage.cpu ?? 0, { stage: { name: stage.name, note: stage.note } });
  for (const step of run.steps || []) if (step.happened) add(step.at, step.cpu ?? 0, { stepHappened: step });
  for (const ipi of run.ipis || []) {
    const targets = (ipi.targets || []).map((cpu, i) => ({ cpu, deliveredAs: (ipi.deliveredAs || [])[i] }));
    const unwatchedAt = ipi.unwatched ? ipi.at : undefined;
    add(ipi.at, ipi.source || 0, { ipi: { vector: ipi.vector, sentAs: ipi.sentAs, targets, unwatchedAt } });
  }
  events.sort((a, b) => seconds(a.at) - seconds(b.at));
  return events;
}

function ipiText(source, ipi) {
  const vector = "0x" + (ipi.vector || 0).toString(16);
  const kind = (mode) => (mode === "nmi" ? "an NMI" : mode === "fixed" ? `interrupt ${vector}` : `${mode} ${vector}`);
  const byDelivery = new Map();
  for (const target of ipi.targets || []) {
    const delivered = target.deliveredAs || "as sent";
    byDelivery.set(delivered, [...(byDelivery.get(delivered) || []), target.cpu || 0]);
  }
  const fates = [...byDelivery].map(([delivered, targets]) => {
    if (delivered === "dropped") return `DROPPED on its way to ${cpus(targets)}`;
    if (delivered === ipi.sentAs) return `delivered as sent to ${cpus(targets)}`;
    return `DELIVERED AS ${delivered === "fixed" ? "a maskable interrupt" : delivered} to ${cpus(targets)}`;
  });
  if (ipi.unwatchedAt) fates.push(`at ${clock(seconds(ipi.unwatchedAt))} s, while IPIs were not watched`);
  return { text: `CPU ${source} sends ${kind(ipi.sentAs)}`, more: (ipi.targets || []).length ? fates.join("; ") : ["to nobody", ...fates].join("; ") };
}

function rowOf(event, run) {
  const cpu = event.cpu;
  const who = cpu === undefined ? "" : `CPU ${cpu}: `;
  if (event.stage) {
    const { name, note } = event.stage;
    const text = STAGES[name] || name;
    return { glyph: name === "jump" ? "jump" : cpu === undefined ? "" : "dot", key: KEY_STAGES.has(name), text: who + text, more: note };
  }
  if (event.stepArmed) {
    const step = (run.steps || []).find((entry) => entry.number === event.stepArmed.number);
    return { text: `waiting for step ${event.stepArmed.number}${step ? `, ${step.text}` : ""}`,
      more: event.stepArmed.alone ? "only its CPU runs until then" : event.stepArmed.wait ? `in ${clock(seconds(event.stepArmed.wait))} s` : "", faint: true };
  }
  if (event.stepHappened) {
    const happened = event.stepHappened;
    const step = (run.steps || []).find((entry) => entry.number === happened.number);
    return { glyph: "step", number: happened.number, key: true, text: `step ${happened.number}: ${step ? step.text : happened.text || ""}`,
      more: `CPU ${cpu} stands at ${happened.place || "an unknown place"} (RIP ${hex(happened.rip)})`, place: happened.place };
  }
  if (event.injected) {
    const text = INJECTIONS[event.injected.what] || "something is injected";
    return { glyph: "inject", key: true, text: who + text, more: event.injected.text ? `“${event.injected.text}”` : "" };
  }
  if (event.held) return { glyph: "hold", text: who + "held: executes nothing from here on" };
  if (event.released) return { glyph: "release", text: who + "released" };
  if (event.interruptsOff) return { glyph: "off", key: true, text: who + "spins with interrupts off from here on", more: `taken from ${event.interruptsOff.place || ""}` };
  if (event.interruptsRestored) return { glyph: "on", key: true, text: who + "goes on with its interrupts as before" };
  // Of those that nobody watched there are thousands, and nearly all say that a task is to be run: report.json has them.
  if (event.ipi && event.ipi.unwatchedAt && event.ipi.sentAs === "fixed") return undefined;
  if (event.ipi) return { glyph: "ipi", ipi: event.ipi, ...ipiText(cpu || 0, event.ipi) };
  if (event.stopped) {
    const by = event.stopped.by;
    return { glyph: "stop", key: true, stopped: STOPS[event.stopped.how] || "stopped", text: who + (STOPS[event.stopped.how] || "stopped"),
      more: by === undefined ? "" : `sent by CPU ${by}` };
  }
  if (event.console) return { console: true, loud: LOUD.test(event.console.text || ""), text: event.console.text || "" };
  if (event.agent) {
    const text = event.agent.text || "";
    return /\bheartbeat\b/.test(text) ? undefined : { agent: true, text: "agent " + text };
  }
  if (event.dumpJudged) {
    const checks = (event.dumpJudged.dump || {}).checks || [];
    return { key: true, text: `the dump: ${checks.filter((check) => check.ok).length} of ${plural(checks.length, "check")} hold` };
  }
  if (event.panicMessage) return { key: true, text: `the panic's message “${event.panicMessage.text || ""}”`, more: messageWords(event.panicMessage) };
  if (event.outcome) return { key: true, text: `outcome: ${outcomeWord(event.outcome.outcome)}`, more: event.outcome.detail };
  if (event.verdict) return { key: true, text: `verdict: ${word(event.verdict.verdict, "VERDICT_")}`, more: event.verdict.detail };
  if (event.ipisLeftOut) return { faint: true, text: `${event.ipisLeftOut.count} more IPIs that nobody watched are in no report: there were too many` };
  if (event.cut) return { key: true, text: "the stream is cut here: it grew too long", more: "console.log and agent.log go on" };
  return undefined;
}

// How a vCPU is: what its lane looks like.
const freshCpu = () => ({ held: false, window: false, irqsOff: false, halted: false, stopped: false, capture: false, gone: false, alone: false });

function rowsOf(run, events) {
  const count = vcpusOf(run, events);
  const lanes = Array.from({ length: count }, freshCpu);
  const rows = [];
  let moved = new Map();
  let last = 0;
  for (const event of events) {
    const at = seconds(event.at);
    const lane = lanes[event.cpu];
    if (event.places) {
      for (const place of event.places.cpus || []) {
        const cpu = place.cpu || 0;
        if (cpu >= count) continue;
        moved.set(cpu, place.place || hex(place.rip));
        lanes[cpu].irqsOff = !place.interruptsEnabled;
        if (event.places.final) lanes[cpu].halted = Boolean(place.halted);
      }
      if (!event.places.final) continue;
    }
    if (event.interruptsOff && lane) lane.window = true;
    if (event.stage && event.stage.name === "jump") {
      lanes.forEach((other) => Object.assign(other, { held: false, window: false, alone: false, stopped: true }));
      if (lane) Object.assign(lane, { stopped: false, capture: true });
    }
    if (event.stage && event.stage.name === "reset") lanes.forEach((other) => (other.gone = true));
    if (event.stopped && lane) lane.stopped = true;
    if (event.held && lane) lane.held = true;
    if (event.stepArmed && event.stepArmed.alone) lanes.forEach((other, cpu) => (other.alone = cpu !== event.cpu));
    const row = event.places ? { text: "where each CPU is now", faint: true } : rowOf(event, run);
    const before = rows[rows.length - 1];
    if (row && row.stopped && before && before.stopped === row.stopped && before.more === row.more && at - last <= 0.25) {
      // One row for all that were stopped in the same way, one after the other.
      before.cpus = [...(before.cpus || [before.cpu]), event.cpu];
      before.text = `${cpus(before.cpus)}: ${row.stopped}, until ${clock(at)} s`;
      for (const [cpu, place] of moved) before.moved.set(cpu, place);
      before.lanes = lanes.map((state) => ({ ...state }));
      moved = new Map();
      last = at;
    } else if (row) {
      if (at - last > 0.25) rows.push({ gap: at - last, at, lanes: lanes.map((state) => ({ ...state })) });
      rows.push({ ...row, at, cpu: event.cpu, sequence: event.sequence, moved, lanes: lanes.map((state) => ({ ...state })) });
      moved = new Map();
      last = at;
    }
    if (event.stepHappened) lanes.forEach((other) => (other.alone = false));
    if (event.released && lane) lane.held = false;
    if (event.interruptsRestored && lane) lane.window = false;
    if (rows.length >= MAX_ROWS) {
      rows.push({ at, key: true, text: "the rest of this trial is too long to be drawn: see events.jsonl", moved: new Map(), lanes: lanes.map((state) => ({ ...state })) });
      break;
    }
  }
  return { count, rows };
}

// Runs of console lines, but for their ends and for those that say something went wrong, are folded into one row.
const KEEP = 2;
function folded(rows) {
  const result = [];
  for (let i = 0; i < rows.length; ) {
    if (!rows[i].console || rows[i].loud) {
      result.push(rows[i++]);
      continue;
    }
    let end = i;
    while (end < rows.length && (rows[end].gap || (rows[end].console && !rows[end].loud))) ++end;
    while (rows[end - 1].gap) --end;
    const inside = rows.slice(i + KEEP, end - KEEP);
    if (end - i <= 2 * KEEP + 2) result.push(...rows.slice(i, end));
    else result.push(...rows.slice(i, i + KEEP), { folded: inside, at: inside[0].at, lanes: inside[0].lanes, until: inside[inside.length - 1].at }, ...rows.slice(end - KEEP, end));
    i = end;
  }
  return result;
}
