"use strict";
// One trial: what was expected, what happened and why, the timeline, the dump, where each CPU was, the console.

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== undefined && value !== "" && !(Array.isArray(value) && value.length === 0)).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function explained(outcome) {
  const name = outcomeWord(outcome);
  return [el("strong", {}, name), OUTCOMES[name] ? ": " + OUTCOMES[name] : ""];
}

function stepsTable(run) {
  const steps = run.steps || [];
  if (!steps.length) return [];
  const missed = steps.find((step) => !step.happened);
  return [
    el("h3", {}, "The scenario's steps"),
    el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Steps" }, el("table", { class: "grid" },
      el("thead", {}, el("tr", {}, ["Step", "What was asked", "Time, s", "Where the CPU was", "RIP"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, steps.map((step) => el("tr", {}, el("th", { scope: "row" }, step.number), el("td", {}, step.text),
        el("td", {}, step.happened ? clock(seconds(step.at)) : el("strong", { class: "fail" }, step === missed ? "never reached" : "not waited for")),
        el("td", { class: "mono" }, step.place), el("td", { class: "mono" }, step.happened ? hex(step.rip) : "")))))),
  ];
}

function dumpSection(run) {
  if (!run.dump) return [];
  const dump = run.dump;
  const checks = [...(dump.checks || [])].sort((a, b) => Number(Boolean(a.ok)) - Number(Boolean(b.ok)));
  const wrong = checks.filter((check) => !check.ok).length;
  return [
    el("h3", {}, "The dump, compared with the truth"),
    facts([
      ["size", bytes(dump.bytes)],
      ["CPU that panicked", dump.panicCpu < 0 ? "the dump names none" : `CPU ${dump.panicCpu || 0}`],
      ["registers", `of ${plural(dump.cpusWithRegisters || 0, "CPU")}` + ((dump.missingCpus || []).length ? `; none of ${cpus(dump.missingCpus)}` : "")],
      ["saved as", dump.saved && dump.saved.file ? [fileLink(run, dump.saved.file), `, ${bytes(dump.saved.bytes)} (${dump.saved.format}), in ${span(seconds(dump.saved.took))} of the guest's time, by ${dump.saved.writer}`] : undefined],
      ["checks", wrong ? el("strong", { class: "fail" }, `${wrong} of ${checks.length} do not hold`) : `all ${checks.length} hold`],
    ]),
    checks.length ? el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Checks of the dump" }, el("table", { class: "grid" },
      el("thead", {}, el("tr", {}, ["", "Check", "Should be", "Is"].map((name) => (name ? el("th", { scope: "col" }, name) : el("td"))))),
      el("tbody", {}, checks.map((check) => el("tr", {}, el("td", { class: "verdict " + (check.ok ? "pass" : "fail") }, check.ok ? "holds" : "WRONG"),
        el("th", { scope: "row" }, check.name), el("td", { class: "mono" }, check.expected), el("td", { class: "mono" }, check.actual)))))) : "",
  ];
}

function placesSection(run) {
  const places = run.places || [];
  if (!places.length) return [];
  return [
    el("h3", {}, "Where each CPU was at the end"),
    el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Where each CPU was" }, el("table", { class: "grid" },
      el("thead", {}, el("tr", {}, ["CPU", "Place", "Kernel", "Interrupts", "Called from"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, places.map((place) => el("tr", {}, el("th", { scope: "row" }, place.cpu || 0), el("td", { class: "mono" }, place.place || hex(place.rip)),
        el("td", {}, place.where === "user" ? "user mode" : place.where || ""), el("td", {}, (place.interruptsEnabled ? "on" : "off") + (place.nmisBlocked ? ", NMIs blocked" : "") + (place.halted ? ", halted" : "")),
        el("td", { class: "mono" }, (place.backtrace || []).map((frame) => el("div", {}, frame)))))))),
  ];
}

function consoleSection(events, omitted, run, base) {
  const lines = events.filter((event) => event.console);
  if (!lines.length) return [];
  const items = lines.map((event) => el("li", {}, el("a", { href: `#${base}/ev-${event.sequence}` }, clock(seconds(event.at))), el("span", {}, event.console.text)));
  return [
    el("h3", {}, "The console"),
    el("p", { class: "quiet" }, `${plural(lines.length, "line")}; each time leads to its place in the timeline. `,
      omitted ? el("strong", {}, `${plural(omitted, "line")} in the middle are left out; `) : "", "All of it: ", fileLink(run, "console.log")),
    el("details", {}, el("summary", {}, "Show the console"), el("div", { class: "logbox", role: "region", tabindex: "0", "aria-label": "Console" }, el("ol", { class: "log" }, items))),
  ];
}

function siblings(report, index) {
  const run = report.runs[index];
  const trials = report.runs.map((other, i) => [other, i]).filter(([other]) => other.scenario === run.scenario && platform(other) === platform(run) && other.kernelReference === run.kernelReference);
  if (trials.length < 2) return "";
  return el("nav", { "aria-label": "Trials of this scenario" }, el("ul", { class: "trials" }, trials.map(([other, i]) => el("li", {},
    el("a", { href: `#run-${i + 1}`, "aria-current": i === index ? "true" : undefined }, `trial ${other.repeat || 1}`), " ", verdictMark(other), " ", outcomeWord(other.outcome)))));
}

function trial(page, index) {
  const run = page.report.runs[index];
  const stream = page.streams[index] || {};
  const events = stream.events && stream.events.length ? stream.events : eventsOf(run);
  const started = (events.find((event) => event.trialStarted) || {}).trialStarted || {};
  const base = `run-${index + 1}`;
  const notes = [];
  if (run.undecided) notes.push("This trial was not decided: panicroom was ended while it ran. Its events until then are shown.");
  if (stream.note) notes.push(stream.note);
  const omitted = stream.omitted || {};
  for (const [kind, count] of Object.entries(omitted)) notes.push(`${count} ${kind} events are left out of this page; they are in events.jsonl.`);
  const drawing = timeline(run, events, base);
  const byWorkload = new Map();
  (started.workload || []).forEach((name, cpu) => byWorkload.set(name, [...(byWorkload.get(name) || []), cpu]));
  const workload = [...byWorkload].map(([name, numbers]) => `${name} on ${cpus(numbers)}`).join(", ");
  const node = [
    el("h2", { id: "trial-title" }, `${run.scenario || "unnamed"} on ${platform(run)}`),
    siblings(page.report, index),
    started.summary ? el("p", {}, started.summary) : "",
    notes.map((note) => el("p", { class: "quiet" }, el("strong", {}, "Note: "), note)),
    facts([
      ["verdict", [verdictMark(run), ": " + (run.undecided ? "" : VERDICTS[verdictOf(run).name] || "")]],
      ["expected", run.expectedOutcome && outcomeWord(run.expectedOutcome) !== "no outcome" ? explained(run.expectedOutcome) : undefined],
      ["happened", explained(run.outcome)],
      ["because", run.detail],
      ["message", run.panicMessage ? `“${run.panicMessage.text || ""}”: ${messageWords(run.panicMessage)}` : undefined],
      ["took", run.wall ? span(seconds(run.wall)) : undefined],
      ["machine", started.vcpus ? `${plural(started.vcpus, "CPU")}, ${bytes(started.memoryBytes)}, crashkernel ${bytes(started.crashkernelBytes)}` : undefined],
      ["workload", workload],
      ["command line", started.kernelCmdline],
      ["see also", (started.refs || []).join(", ")],
      ["scenario", run.file],
      ["KASLR slide", run.kaslrSlide && run.kaslrSlide !== "0" ? hex(run.kaslrSlide) : undefined],
      ["logs", run.artifacts ? [fileLink(run, "console.log"), ", ", fileLink(run, "agent.log"), ", ", fileLink(run, "events.jsonl")] : undefined],
    ]),
    stepsTable(run),
    events.length === 0 ? "" : [
      el("h3", {}, "The timeline"),
      legend(),
      el("p", { class: "controls" }, el("button", { type: "button", on: { click: () => drawing.all() } }, "Show every console line in the timeline")),
      drawing.node,
    ],
    dumpSection(run),
    placesSection(run),
    consoleSection(events, omitted.console, run, base),
  ];
  return { node, reveal: drawing.reveal };
}
