"use strict";
// Puts the page together, and follows its address: #run-3 is a trial, #run-3/ev-12 a moment in it.

(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  page.report.runs = page.report.runs || [];
  page.report.runs.forEach((run, i) => (run.undecided = Boolean((page.streams[i] || {}).undecided)));
  const host = page.report.host || {};
  fill(document.getElementById("head"), {},
    el("h1", {}, "panicroom report"),
    el("p", { class: "quiet" }, [page.report.started && `started ${page.report.started}`, host.name && `on ${host.name}`, host.cpuModel, host.qemuVersion && `QEMU ${host.qemuVersion}`,
      page.report.panicroomVersion && `panicroom ${page.report.panicroomVersion}`].filter(Boolean).join(" · ")));
  fill(document.getElementById("overview"), {}, overview(page));
  fill(document.getElementById("words"), {}, wordsSection());

  const section = document.getElementById("trial");
  let current;
  let reveal;
  const follow = (focus) => {
    const match = /^#run-(\d+)(?:\/ev-(\d+))?$/.exec(location.hash);
    if (!match && current !== undefined) return;
    const runs = page.report.runs;
    if (!runs.length) return;
    // What a kernel did wrong says more than what the host did.
    const first = ["fail", "error"].map((name) => runs.findIndex((run) => verdictOf(run).name === name)).find((i) => i >= 0) ?? 0;
    const index = match ? Math.min(Math.max(Number(match[1]), 1), runs.length) - 1 : first;
    if (index !== current) {
      const shown = trial(page, index);
      section.replaceChildren();
      fill(section, {}, shown.node);
      reveal = shown.reveal;
      current = index;
    }
    for (const old of section.querySelectorAll(".target")) old.classList.remove("target");
    if (match && match[2]) {
      const row = reveal(Number(match[2]));
      if (!row) return;
      row.classList.add("target");
      row.scrollIntoView({ block: "center" });
      if (focus) row.querySelector("a").focus({ preventScroll: true });
    } else if (match && focus) {
      section.scrollIntoView();
      section.focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", () => follow(true));
  follow(location.hash.startsWith("#run-"));
})();
