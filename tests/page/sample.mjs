// A run's --out folder as `panicroom run` leaves it, for machines of any size, with text of a hostile guest in every field
// that a guest can fill.
import fs from "node:fs";
import path from "node:path";

export const HOSTILE = `</script><script>window.hurt = true</script><img src=x onerror="window.hurt = true"> <!-- \u202e & {{js}} '"`;

const at = (milliseconds) => `${(milliseconds / 1000).toFixed(6)}s`;
const address = "18446744071580156013";

const steps = (vcpus) => ["cpu 0: panic at workload", "cpu 0: hold at __crash_kexec/lock-taken", `cpu ${vcpus - 1}: irqs-off until ipi:stop`,
  "cpu 1: panic at workload", "cpu 1: note at panic_smp_self_stop"].map((text, i) => ({ number: i + 1, text, cpu: [0, 0, vcpus - 1, 1, 1][i] }));

// CPU 0 is about to jump and is held; CPU 1 panics too, passes the gate, and stops everybody.
export function race(vcpus, run) {
  const others = Array.from({ length: vcpus }, (_, cpu) => cpu).filter((cpu) => cpu !== 1);
  const events = [{ trialStarted: { run: { ...run, steps: steps(vcpus) }, summary: `CPU 1 panics while CPU 0, interrupts off, is inside crash_kexec(). ${HOSTILE}`, refs: ["93e13a360ba3"],
    vcpus, memoryBytes: String(512 << 20), crashkernelBytes: String(128 << 20), workload: Array.from({ length: vcpus }, () => "syscalls"), timeout: "60s" } }];
  let now = 0;
  const add = (milliseconds, event) => events.push({ at: at((now += milliseconds)), ...event });
  const place = (cpu, name, interruptsEnabled) => ({ cpu, rip: address, place: name, where: "first", ...(interruptsEnabled ? { interruptsEnabled } : {}) });
  const step = (number, cpu, name) => {
    add(3, { places: { cpus: others.slice(0, 9).map((other) => place(other, ["do_idle+0x1f", "native_safe_halt+0xb", "__x64_sys_getpid+0x3"][other % 3], true)).concat([place(cpu, name, false)]) } });
    add(0, { cpu, stepHappened: { number, rip: address, place: name } });
  };
  add(0.1, { stage: { name: "armed", note: "restored from the snapshot of an armed machine" } });
  add(0.1, { cpu: 0, stepArmed: { number: 1, alone: true } });
  step(1, 0, "__x64_sys_getpid");
  add(0.1, { cpu: 0, injected: { what: "WHAT_PANIC", text: `first ${HOSTILE}` } });
  add(1, { cpu: 0, stage: { name: "panic-entered" } });
  add(1, { cpu: 0, stage: { name: "owner-elected" } });
  for (const line of [`[   12.345678] Kernel panic - not syncing: first ${HOSTILE}`, ...Array.from({ length: 30 }, (_, i) => `[   12.34${5700 + i}]  ? some_function_${i}+0x${i}/0x100`)])
    add(0.4, { console: { text: line, offset: "1" } });
  step(2, 0, "__crash_kexec+0x2d");
  add(0.1, { cpu: 0, held: {} });
  step(3, vcpus - 1, "do_idle+0x1f");
  add(0.1, { cpu: vcpus - 1, interruptsOff: { rip: address, place: "do_idle+0x1f" } });
  step(4, 1, "__x64_sys_getpid");
  add(0.1, { cpu: 1, injected: { what: "WHAT_PANIC", text: "second" } });
  add(1, { cpu: 1, stage: { name: "gate-overridden", note: "unfix: panic-gate" } });
  const fates = ["fixed", "nmi", "dropped"];
  add(2, { cpu: 1, ipi: { vector: 248, sentAs: "fixed", targets: others.map((cpu) => ({ cpu, deliveredAs: "fixed" })) } });
  for (const cpu of others.filter((cpu) => cpu !== 0 && cpu !== vcpus - 1)) add(0.2, { cpu, stopped: { how: "HOW_IRQ", by: 1 } });
  add(1000, { cpu: 1, ipi: { vector: 2, sentAs: "nmi", targets: others.map((cpu, i) => ({ cpu, deliveredAs: fates[(i + 1) % 3] })) } });
  add(0.5, { cpu: 0, released: {} });
  add(1, { cpu: 0, stopped: { how: "HOW_NMI", by: 1 } });
  add(1, { cpu: vcpus - 1, interruptsRestored: {} });
  add(400, { agent: { text: `[  1.0] #7 failed: ${HOSTILE}` } });
  add(10, { cpu: 1, stage: { name: "reset-begun" } });
  add(0.1, { places: { final: true, cpus: [1, ...others].sort((a, b) => a - b).map((cpu) => ({ ...place(cpu, cpu === 1 ? "native_machine_emergency_restart" : "stop_this_cpu+0x63"), halted: cpu !== 1, backtrace: ["panic+0x286", `${HOSTILE}`] })) } });
  add(1, { stage: { name: "reset" } });
  add(0.1, { outcome: { outcome: "OUTCOME_RESET", detail: "the machine was reset without a dump" } });
  add(0.1, { verdict: { verdict: "VERDICT_FAIL", expectedOutcome: "OUTCOME_DUMPED", detail: "expected dumped" } });
  return events.map((event, i) => ({ sequence: i + 1, ...event }));
}

export function makeRun(folder, vcpus) {
  const kernel = "6.1.0-56-cloud-amd64";
  const runs = [];
  const add = (scenario, kernelRelease, changes, events) => {
    const run = { scenario, kernelRelease, captureKernelRelease: kernelRelease, engine: "qemu (tcg)", repeat: 1, expectedOutcome: "OUTCOME_DUMPED", wall: "2.6s",
      file: `scenarios/${scenario}.yaml`, artifacts: `${kernelRelease}/${scenario}/1`, ...changes };
    fs.mkdirSync(path.join(folder, run.artifacts), { recursive: true });
    if (events) fs.writeFileSync(path.join(folder, run.artifacts, "events.jsonl"), events(run).map((event) => JSON.stringify(event) + "\n").join(""));
    runs.push(run);
  };
  const checks = [{ name: "registers of CPU 1 are those of its stop", ok: false, expected: "rip 0xffffffff81000010", actual: HOSTILE }, { name: "vmcoreinfo OSRELEASE is the crashed kernel's", ok: true, expected: kernel, actual: kernel }];
  add("single-panic", kernel, { verdict: "VERDICT_PASS", outcome: "OUTCOME_DUMPED" });
  add("single-panic", kernel, { verdict: "VERDICT_FAIL", outcome: "OUTCOME_DUMP_INCOMPLETE", repeat: 2, detail: "the registers of CPU 1 are not true",
    artifacts: `${kernel}/single-panic/2`, dump: { panicCpu: 0, cpusWithRegisters: 1, missingCpus: [1], bytes: "536870912", checks } });
  add("second-panic", kernel, { verdict: "VERDICT_FAIL", outcome: "OUTCOME_RESET", detail: `expected dumped, but the outcome is reset ${HOSTILE}`,
    steps: steps(vcpus).map((step) => (step.number === 5 ? step : { ...step, happened: true, at: "0.0033s", rip: address, place: "panic+0x10" })),
    places: [{ cpu: 0, rip: address, place: "stop_this_cpu+0x63", where: "first", halted: true, backtrace: ["nmi_handle+0x5a", HOSTILE] }, { cpu: 1, rip: address, place: "native_machine_emergency_restart", where: "first", backtrace: ["panic+0x286"] }] },
    (run) => race(vcpus, run));
  add(`oops ${HOSTILE}`.slice(0, 60).replaceAll("/", "_"), "6.12.107+deb13-cloud-amd64", { verdict: "VERDICT_ERROR", outcome: "OUTCOME_UNSPECIFIED", detail: `QEMU ended with signal 9 ${HOSTILE}`, artifacts: "" });
  add("second-panic", "6.12.107+deb13-cloud-amd64", { verdict: "VERDICT_SKIP", outcome: "OUTCOME_UNSPECIFIED", detail: "needs the capability ipi-policy", artifacts: "" });
  fs.writeFileSync(path.join(folder, "report.json"), JSON.stringify({ host: { name: "build-7", qemuVersion: "7.2.22" }, panicroomVersion: "0.1.0", started: "2026-11-24T10:00:00Z", runs }));
}
