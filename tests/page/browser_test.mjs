// The report's page in headless Chromium, opened from the disk: axe-core finds nothing, the console says nothing, no guest's
// text runs, and the page can be used with the keyboard. Leaves screenshots and a PDF in the scratch folder.
//
//   node browser_test.mjs PANICROOM CHROMIUM SCRATCH
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";
import { HOSTILE, makeRun } from "./sample.mjs";

const [program, chromium, scratch] = process.argv.slice(2);
const require = createRequire(path.join(scratch, "package.json"));
const playwright = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await playwright.chromium.launch({ executablePath: chromium, timeout: 0,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
let checks = 0;
const failures = [];
async function check(name, body) {
  ++checks;
  try {
    await body();
    console.log(`ok      ${name}`);
  } catch (error) {
    failures.push(name);
    console.log(`FAILED  ${name}\n${error.message}`);
  }
}

async function open(file, colorScheme, viewport = { width: 1400, height: 900 }) {
  const context = await browser.newContext({ colorScheme, viewport });
  context.setDefaultTimeout(0); // A host that is short of CPUs is not what is tested; CTest ends what hangs.
  const page = await context.newPage();
  const said = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("request", (request) => request.url().startsWith("file:") || request.url().startsWith("data:") || said.push("fetches " + request.url()));
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector("#trial h2");
  return { page, said, close: () => context.close() };
}

async function violations(page) {
  // axe-core is put in by the debugger, as the page's own policy lets nothing in.
  const client = await page.context().newCDPSession(page);
  await client.send("Runtime.evaluate", { expression: axe });
  const { result } = await client.send("Runtime.evaluate", { awaitPromise: true, returnByValue: true,
    expression: "axe.run(document, { resultTypes: ['violations'] }).then((r) => JSON.stringify(r.violations.map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html + ' ' + n.failureSummary).join(' | '))))" });
  return JSON.parse(result.value);
}

for (const vcpus of [2, 4, 32]) {
  const folder = path.join(scratch, `out-${vcpus}`);
  fs.rmSync(folder, { recursive: true, force: true });
  makeRun(folder, vcpus);
  execFileSync(program, ["report", folder], { stdio: ["ignore", "ignore", "pipe"] });
  const file = path.join(folder, "report.html");

  for (const scheme of ["light", "dark"]) {
    const name = `${vcpus} vCPUs, ${scheme}`;
    const { page, said, close } = await open(file, scheme);
    await page.goto(pathToFileURL(file).href + "#run-3");
    await page.waitForFunction(() => document.querySelector("#trial-title").textContent.startsWith("second-panic"));
    await page.screenshot({ path: path.join(scratch, `${vcpus}-${scheme}.png`), fullPage: true });
    await check(`${name}: axe-core has no complaint`, async () => assert.deepEqual(await violations(page), []));
    await check(`${name}: unfolded, axe-core has no complaint`, async () => {
      await page.getByRole("button", { name: "Show every console line" }).click();
      for (const summary of await page.locator("#trial summary").all()) await summary.click();
      assert.deepEqual(await violations(page), []);
    });
    await check(`${name}: the console is silent and nothing is fetched`, async () => assert.deepEqual(said, []));
    await check(`${name}: guests' text is text`, async () => {
      assert.equal(await page.evaluate(() => window.hurt), undefined);
      assert.equal(await page.locator("img").count(), 0);
      const shown = HOSTILE.replace("\u202e", "\\u{202e}");
      assert.ok((await page.locator("#trial").textContent()).includes(`Kernel panic - not syncing: first ${shown}`));
    });
    await close();
  }

  const { page, close } = await open(file, "light");
  await check(`${vcpus} vCPUs: there is a lane for each, and the arrows are those of the IPIs`, async () => {
    await page.goto(pathToFileURL(file).href + "#run-3");
    await page.waitForSelector(".lanes thead svg text");
    assert.equal(await page.locator(".lanes thead svg text").count(), vcpus);
    const row = page.locator(".lanes tr", { hasText: "sends an NMI" });
    assert.equal(await row.locator("line.ipi").count(), vcpus - 1);
    const text = await row.textContent();
    if (vcpus > 2) assert.match(text, /DROPPED on its way to CPU/);
    assert.match(text, vcpus > 2 ? /DELIVERED AS a maskable interrupt/ : /delivered as sent/);
  });
  await check(`${vcpus} vCPUs: what is not seen is said`, async () => {
    const text = await page.locator("#trial").textContent();
    for (const words of ["never reached", "step 3: cpu", "spins with interrupts off", "held: executes nothing", "stopped by an NMI that saves no registers", "The machine is reset"]) assert.ok(text.includes(words), words);
  });
  await check(`${vcpus} vCPUs: a console line leads to its moment`, async () => {
    await page.locator("summary", { hasText: "Show the console" }).click();
    const link = page.locator("ol.log a").nth(15);
    await link.focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector("tr.target");
    assert.equal(await page.locator("tr.target td.time").textContent(), await link.textContent());
    assert.ok(await page.evaluate(() => document.activeElement.closest("tr.target") !== null));
  });
  await check(`${vcpus} vCPUs: the table is filtered and followed with the keyboard`, async () => {
    assert.equal(await page.locator("#overview tbody tr:visible").count(), 3);
    await page.locator("#filter-text").focus();
    await page.keyboard.type("6.12");
    assert.equal(await page.locator("#overview tbody tr:visible").count(), 2);
    assert.match(await page.getByRole("status").textContent(), /2 of 3/);
    await page.locator("#filter-text").fill("");
    await page.locator("#filter-pass").focus();
    for (const name of ["fail", "error", "skip"]) await page.locator(`#filter-${name}`).uncheck();
    assert.equal(await page.locator("#overview tbody tr:visible").count(), 1);
    await page.locator("#overview tbody tr:visible a").first().focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#trial-title").textContent.startsWith("single-panic"));
    assert.match(await page.locator("#trial").textContent(), /1 of 2 do not hold/);
    assert.equal(await page.evaluate(() => document.activeElement.id), "trial");
  });
  await page.goto(pathToFileURL(file).href + "#run-3");
  await page.waitForFunction(() => document.querySelector("#trial-title").textContent.startsWith("second-panic"));
  await page.pdf({ path: path.join(scratch, `${vcpus}.pdf`), preferCSSPageSize: true });
  await close();
}
await browser.close();
console.log(`${checks - failures.length} of ${checks} checks passed`);
process.exit(failures.length ? 1 : 0);
