// What a browser test is made of: named steps whose outcome is a line of JSON, and a page whose every error is one.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import readline from "node:readline";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const AXE = require.resolve("axe-core/axe.min.js");
/** Rules that a page of tables and one heading has to pass, and those of colours. */
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const KEPT = "tollgate-token";

export const given = JSON.parse(process.env.TOLLGATE_PAGE ?? "{}");
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has whoever runs this script do something to the node. */
export async function asked(what) {
  say({ ask: what });
  const { value } = await lines.next();
  return JSON.parse(value ?? "null");
}

export function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** What becomes so by itself, within 15 seconds. */
export async function become(holds, what) {
  for (let tries = 60; tries > 0 && !holds(); tries -= 1) await new Promise((over) => setTimeout(over, 250));
  check(holds(), what);
}

export function equal(found, expected, what) {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`${what}: ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
}

export async function step(name, run) {
  const began = performance.now();
  try {
    await run();
    say({ step: name, ok: true, seconds: Math.round(performance.now() - began) / 1000 });
  } catch (error) {
    say({ step: name, ok: false, error: String(error.stack ?? error).slice(0, 3000), seconds: Math.round(performance.now() - began) / 1000 });
  }
}

export const browser = await chromium.launch({ executablePath: given.chromium, args: ["--no-sandbox", "--disable-dev-shm-usage"] });

/** What a page has said that it should not. */
export const faults = [];
export const expected = { away: false };

/** A page of a browser of its own, or another window of one that is there; with a clock that is wrong by `wrong` milliseconds. */
export async function opened({ token, base = given.base, width = 1280, scheme = "light", path = "/", beside, wrong } = {}) {
  const context = beside?.context() ?? (await fresh({ token, width, scheme }));
  const page = await context.newPage();
  if (wrong) await page.clock.install({ time: Date.now() + wrong });
  page.setDefaultTimeout(15_000);
  page.on("console", (message) => {
    if (message.type() !== "error") return;
    // A browser says this of every answer that is no 2xx: no login yet, no such org, changed by somebody else.
    if (/^Failed to load resource: the server responded with a status of (401|404|409) /.test(message.text())) return;
    if (expected.away && /Failed to load resource|net::ERR/.test(message.text())) return;
    faults.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`${page.url()}: ${error.stack ?? error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("data:")) faults.push(`asked elsewhere: ${request.url()}`);
  });
  await page.goto(base + path);
  return page;
}

async function fresh({ token, width, scheme }) {
  const context = await browser.newContext({ viewport: { width, height: width < 700 ? 844 : 900 }, colorScheme: scheme, reducedMotion: "reduce" });
  if (token) await context.addInitScript(([key, value]) => sessionStorage.setItem(key, value), [KEPT, token]);
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
    window.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  return context;
}

/** A window that nobody sees, or sees again. */
export async function hide(page, isHidden) {
  await page.evaluate((isHidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
}

export async function closed(page) {
  await page.context().close();
}

/** A screenshot of the whole page, which fits its screen, and what axe finds in it. */
export async function seen(page, name, isJudged = true) {
  const shot = { path: `${given.shots}/${name}.png`, fullPage: true };
  // A browser on a machine that has too much to do may not get one at first.
  await page.screenshot(shot).catch(() => page.screenshot(shot));
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(overflow <= 0, `${name} is ${overflow} px wider than its screen`);
  if (isJudged) await accessible(page, name);
}

export async function accessible(page, name) {
  const found = await isolated(page, await readFile(AXE, "utf8"));
  const bad = found.filter(({ impact }) => impact === "serious" || impact === "critical");
  check(bad.length === 0, `${name}: ${JSON.stringify(bad, null, 1)}`);
}

/** Runs axe where the policy of the page does not hold: in a world of the browser's debugger. */
async function isolated(page, source) {
  const session = await page.context().newCDPSession(page);
  try {
    const { frameTree } = await session.send("Page.getFrameTree");
    const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
    await session.send("Runtime.evaluate", { expression: source, contextId: executionContextId });
    const run = `axe.run(document, ${JSON.stringify({ runOnly: TAGS, resultTypes: ["violations"] })}).then(({ violations }) => JSON.stringify(violations.map(({ id, impact, nodes }) => ({ id, impact, at: nodes.slice(0, 3).map((node) => node.target.join(" ") + ": " + node.failureSummary) }))))`;
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression: run, contextId: executionContextId, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`axe: ${JSON.stringify(exceptionDetails)}`);
    return JSON.parse(result.value);
  } finally {
    await session.detach();
  }
}
