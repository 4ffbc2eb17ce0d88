"use strict";
// What the report's names mean, for somebody who sees panicroom for the first time.

const OUTCOMES = {
  dumped: "the capture kernel produced a dump that withstood every check",
  dump_incomplete: "a vmcore came out, but the registers of a CPU are missing or untrue in it",
  dump_invalid: "a vmcore came out that is not a dump of the kernel that crashed",
  capture_failed: "the capture kernel was entered, but did not get as far as a dump",
  reset: "the machine was reset without a dump",
  hung: "nothing more happens, and there is no dump",
  no_panic: "the timeline was carried out, and the kernel goes on working",
  "no outcome": "the trial ended before there was an outcome",
};

const VERDICTS = {
  pass: "the kernel did what the scenario expects",
  fail: "the kernel did something else",
  error: "a fault of the host or of panicroom: it says nothing about the kernel",
  skip: "a requirement that the scenario states is not met here",
};

const STAGES = {
  armed: "The machine starts, with kdump armed",
  "switched-on": "The machine starts with its first instruction, and nothing is armed",
  "panic-entered": "panic() is entered",
  "owner-elected": "wins the panic: the other CPUs stay out of panic()'s work",
  "gate-overridden": "lost the panic, and is let through all the same (unfix: panic-gate)",
  "crash-kexec": "goes to start the capture kernel (__crash_kexec)",
  "not-stopped": "was not stopped before the jump",
  jump: "jumps into the capture kernel",
  "capture-entered": "The capture kernel starts",
  "capture-userspace": "The capture kernel's userspace runs",
  "vmcore-opened": "/proc/vmcore is opened",
  "dump-saved": "makedumpfile has saved the dump",
  "dump-verified": "The dump has been compared with the truth",
  "reset-begun": "begins to reset the machine",
  reset: "The machine is reset",
};
const KEY_STAGES = new Set(["owner-elected", "gate-overridden", "not-stopped", "jump", "reset-begun", "reset", "capture-entered", "dump-verified"]);

const STOPS = {
  HOW_CRASH_NMI: "stopped by the crash NMI, which saves registers for the dump",
  HOW_NMI: "stopped by an NMI that saves no registers",
  HOW_IRQ: "stopped by an interrupt (the reboot vector)",
  HOW_ITSELF: "stops itself, because another CPU is panicking",
};

const INJECTIONS = {
  WHAT_PANIC: "panic() is called here",
  WHAT_OOPS: "address 0 is called here, for an oops",
  WHAT_NMI: "an NMI from outside is made pending",
  WHAT_SET: "registers or memory are set",
  WHAT_SKIP: "the instruction is left out",
  WHAT_STEP: "single steps alone",
  WHAT_START: "a workload that waited on this CPU begins",
  WHAT_MCE: "a machine check: its hardware reports an error",
  WHAT_SPIN: "spins from here on, its interrupts as they were",
};

const messageWords = (message) => [[message.console, "on the console"], [message.log, "in the log"]]
  .filter(([state]) => state && state !== "STATE_UNSPECIFIED").map(([state, where]) => `${word(state, "STATE_")} ${where}`).join(", ");

function wordsSection() {
  const definitions = (title, words) => [
    el("h3", {}, title),
    el("dl", { class: "facts" }, Object.entries(words).map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
  ];
  return [
    el("h2", { id: "words-title" }, "How to read this"),
    el("p", {},
      "panicroom boots an unmodified kernel with kdump armed, in a machine whose CPUs it can stop one by one. A scenario is a list of " +
      "steps: which CPU is to be brought to which instruction, and what is done to it there. Then everything is let go, and the " +
      "/proc/vmcore that comes out, or does not, is compared with what the hypervisor knows. Every trial begins with the same " +
      "machine, restored from a snapshot. Times are the host's, in seconds since then; a CPU that is held executes nothing."),
    definitions("Outcomes: what the kernel did", OUTCOMES),
    definitions("Verdicts: whether the scenario expects that", VERDICTS),
  ];
}
