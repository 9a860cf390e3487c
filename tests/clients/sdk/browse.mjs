// Opens a page and has it tell the story by each transport; what came of each, as a list in JSON, and what the console said.
//
//   node browse.mjs <playwright-core> <chromium> <page> <base URL> <transport>=<org>…
import { pathToFileURL } from "node:url";

const [playwright, executablePath, url, baseUrl, ...stories] = process.argv.slice(2);
const { chromium } = (await import(pathToFileURL(playwright))).default;
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const page = await browser.newPage();
const faults = [];
page.on("pageerror", (error) => faults.push(String(error)));
await page.goto(url);
const told = [];
for (const story of stories) {
  const [kind, org] = story.split("=");
  told.push(JSON.parse(await page.evaluate((given) => globalThis.tell(...given), [kind, baseUrl, org])));
}
await browser.close();
process.stdout.write(JSON.stringify({ told, faults }), () => process.exit(0));
