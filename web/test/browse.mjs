// The page in a browser, against a real node. Run by tests/clients/test_page.py, which starts the node.
import { mkdir } from "node:fs/promises";
import { Node, seed, crowd, spend } from "./seed.mjs";
import { asked, browser, check, closed, equal, expected, faults, given, opened, seen, step } from "./steps.mjs";

const { tokens } = given;
const node = new Node(given.base, tokens.admin);
const ORGS = 10_000;
await mkdir(given.shots, { recursive: true });
await seed(node);

const button = (page, name) => page.getByRole("button", { name, exact: true });
const settled = (page) => page.locator("[aria-busy]").first().waitFor({ state: "detached" });

async function signedIn(page, token) {
  await page.getByLabel("Token of a viewer or an admin").fill(token);
  await button(page, "Sign in").click();
}

await step("a wrong token is refused in a sentence, and that of a plane is not for the page", async () => {
  const page = await opened();
  await seen(page, "login-1280-light");
  await signedIn(page, "tollgate_nonsense");
  await page.getByRole("alert").getByText("The node does not accept this token").waitFor();
  await signedIn(page, tokens.plane);
  await page.getByText("The token is that of a plane").waitFor();
  check(!(await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }))).includes(tokens.plane), "the token is kept");
  await closed(page);
});

await step("a viewer sees everything and no button of a change", async () => {
  const page = await opened({ path: "/orgs/acme" });
  await signedIn(page, tokens.viewer);
  await page.getByText("Blocked").first().waitFor();
  await page.getByRole("progressbar", { name: "daily budget" }).waitFor();
  for (const name of ["Override", "Grant", "Refund", "Freeze", "Delete", "New session", "Reset"]) {
    equal(await button(page, name).count(), 0, `buttons ${name}`);
  }
  equal(await page.locator("#budgets input").count(), 0, "fields of budgets");
  await page.goto(`${given.base}/orgs/acme?do=freeze`);
  await page.getByText("Blocked").first().waitFor();
  equal(await page.locator("dialog").count(), 0, "panels");
  await button(page, "Sign out").click();
  await page.getByLabel("Token of a viewer or an admin").waitFor();
  equal(await page.evaluate(() => ({ ...sessionStorage, ...localStorage })), {}, "what is kept after signing out");
  equal(await page.context().cookies(), [], "cookies");
  await closed(page);
});

const page = await opened();

await step("an admin signs in, and the login is of this tab alone", async () => {
  await signedIn(page, tokens.admin);
  await page.getByRole("heading", { name: "Fleet" }).waitFor();
  await page.getByText("ops admin").waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Fleet" }).waitFor();
  const other = await opened();
  await other.getByLabel("Token of a viewer or an admin").waitFor();
  await closed(other);
});

await step("the fleet shows decisions as they are made", async () => {
  const total = page.locator('[data-total="denials"]');
  await page.waitForFunction(() => /\d/.test(document.querySelector('[data-total="denials"]')?.textContent ?? ""));
  const before = Number((await total.textContent()).replaceAll(",", ""));
  for (let n = 0; n < 5; n += 1) await node.acquire("globex", { plane: "executor-eu" });
  await page.waitForFunction((least) => Number(document.querySelector('[data-total="denials"]').textContent.replaceAll(",", "")) >= least, before + 5);
  await page.getByRole("region", { name: "Most denied today" }).getByRole("link", { name: "acme" }).waitFor();
  await page.getByRole("region", { name: "Nearest to a limit" }).getByText("over").first().waitFor();
});

await step("an org is found from the keyboard alone", async () => {
  await page.keyboard.press("/");
  equal(await page.evaluate(() => document.activeElement.id), "search", "the focus");
  await page.keyboard.type("glo");
  await page.keyboard.press("Enter");
  await page.getByRole("row", { name: /globex/ }).waitFor();
  check(page.url().endsWith("/orgs?q=glo"), page.url());
  equal(await page.locator("tr.row").count(), 1, "rows");
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: "globex" }).focus();
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  check(outline !== "none", "the focus is not visible");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "globex" }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog", { name: "Keys" }).waitFor({ state: "detached" });
});

await step("a session that cannot start is a disabled button with its sentence and the way on", async () => {
  const start = button(page, "New session");
  check(await start.isDisabled(), "the button is enabled");
  await page.getByText("Monthly quota exceeded — upgrade to continue.").last().waitFor();
  equal(await start.getAttribute("aria-describedby"), "new-session-why", "described by");
  equal(await page.locator("#new-session-why a").getAttribute("href"), "https://billing.example.com/upgrade", "the link");
  check((await page.locator("#sessions-count").textContent()).includes("1 / 1"), "sessions");
});

await step("a count changes as calls are admitted, and moves nothing", async () => {
  await page.goto(`${given.base}/orgs/acme`);
  const used = page.locator('[data-used="rate"]');
  await used.waitFor();
  await page.waitForTimeout(1500);
  const before = Number((await used.textContent()).replaceAll(",", ""));
  const place = () => page.locator("#limits td, #limits th").evaluateAll((cells) => cells.map((cell) => Math.round(cell.getBoundingClientRect().x)));
  const loaded = await page.evaluate(() => window.shifted);
  check(loaded < 0.25, `the layout has shifted by ${loaded} while the page came`);
  const [places, shifted] = [await place(), await page.evaluate(() => window.shifted)];
  for (let n = 0; n < 4; n += 1) await node.acquire("acme", { scope: "workspace/b", plane: "executor-eu" });
  await page.waitForFunction((expected) => document.querySelector('[data-used="rate"]').textContent.replaceAll(",", "") === String(expected), before + 4);
  equal(await place(), places, "columns");
  // Of a sentence a digit more moves the words behind it; a hundredth of what a person notices.
  check((await page.evaluate(() => window.shifted)) - shifted < 0.001, "the layout shifts");
});

await step("why it was denied: the limit, the numbers, the gates and what lets it through", async () => {
  await page.getByRole("heading", { name: /blocked now/ }).waitFor();
  await page.getByText("budget/daily of workspace/a: $1.95 of $2.00 used, $0.40 asked (rolling/1d)").first().waitFor();
  await button(page, "Open denial 1").click();
  const gates = page.getByRole("table", { name: "What each gate said" });
  equal(await gates.getByRole("row", { name: /budgets/ }).locator("td").first().textContent(), "denied", "verdict");
  await page.getByText("tollgate org override set acme 'budget/daily=$2.35' --scope workspace/a --for 1d").first().waitFor();
  check(new URL(page.url()).searchParams.get("denial") === "1", "the address does not have what is open");
});

await step("a limit is overridden after its preview, with a reason, and calls are let through", async () => {
  await page.locator(".blocking .ways button", { hasText: "Override" }).first().click();
  const panel = page.getByRole("dialog", { name: "Override a limit" });
  await panel.waitFor();
  equal(await panel.locator("#amount").inputValue(), "2.35", "the amount that is proposed");
  await panel.locator("#amount").fill("5");
  await button(panel, "Preview").click();
  await panel.getByText("A reason is missing").waitFor();
  await panel.getByLabel("Reason").fill("on the phone, ticket 4712");
  await button(panel, "Preview").click();
  await panel.getByText("What it would do").waitFor();
  equal(await panel.locator(".outcome dd").first().textContent(), "$2.00 → $5.00", "old and new");
  equal((await node.call("admin.v1.AdminService/Why", { org: "acme" })).blocked, true, "a preview changes nothing");
  await page.screenshot({ path: `${given.shots}/override-1280-light.png` });
  await button(panel, "Apply").click();
  await panel.getByText("Done").first().waitFor();
  await button(panel, "Done").click();
  await page.getByText("Not blocked").waitFor();
  const decision = await node.acquire("acme", { scope: "workspace/a", reserve: spend(0.4), requestId: node.id() });
  equal(decision.allowed, true, "the next call");
  const trail = page.getByRole("region", { name: "Audit trail" });
  await trail.getByRole("row", { name: /SetOverride.*ticket 4712/ }).waitFor();
  await trail.getByText("ops").first().waitFor();
});

await step("a budget that somebody else has changed meanwhile is shown with both versions", async () => {
  await page.locator("#budget-daily").fill("60");
  await page.locator("#budget-weekly").fill("soon");
  await page.getByText('"soon" is no amount of dollars').waitFor();
  await page.locator("#budget-weekly").fill("");
  await page.getByRole("button", { name: "Review 1 change" }).click();
  const panel = page.getByRole("dialog", { name: "Budgets of the org" });
  await panel.getByLabel("Reason").fill("agreed");
  await button(panel, "Preview").click();
  equal(await panel.locator(".outcome dd").first().textContent(), "$50.00 → $60.00", "old and new");
  await node.budget("acme", { daily: 70 });
  await button(panel, "Apply").click();
  await panel.getByText(/Yours was made over version 1 \(daily \$50\.00\); version 2 is in force now \(daily \$70\.00\)/).waitFor();
  await page.keyboard.press("Escape");
  await panel.waitFor({ state: "detached" });
  equal((await node.call("v1.BudgetService/GetBudget", { org: "acme" })).budget.periods.daily.limit, "70000000", "the limit in force");
});

await step("an org is frozen and unfrozen, and one that is deleted has its name typed", async () => {
  await page.goto(`${given.base}/orgs/acme`);
  for (const [press, verb, says] of [["Freeze", "Freeze", "frozen"], ["Unfreeze", "Unfreeze", ""]]) {
    await button(page.getByRole("group", { name: "Changes" }), press).click();
    const panel = page.getByRole("dialog");
    await panel.getByLabel("Reason").fill("unpaid");
    await button(panel, "Preview").click();
    await button(panel, verb).click();
    await button(panel, "Done").click();
    equal((await node.call("admin.v1.AdminService/GetOrg", { org: "acme" })).frozen, says !== "", "frozen");
  }
  await button(page, "Delete").click();
  const panel = page.getByRole("dialog", { name: "Delete the org" });
  await panel.getByLabel("Reason").fill("left");
  await button(panel, "Preview").click();
  const confirm = panel.locator("#confirm-name");
  await confirm.fill("acm");
  check(await button(panel, "Delete").isDisabled(), "deleted without its name");
  await confirm.fill("acme");
  check(await button(panel, "Delete").isEnabled(), "its name is not enough");
  await page.keyboard.press("Escape");
});

await step("the hard stop is there exactly while every account is exhausted, and names none", async () => {
  await page.goto(`${given.base}/orgs/initech`);
  await page.getByText("QUOTA HARD STOP").waitFor();
  await page.getByText("0/3 active").waitFor();
  equal(await page.locator(".hard-stop").count(), 1, "of two pools one is stopped");
  await page.getByText(/58 \/ 117 \(49%\) · resets in/).waitFor();
  check(!(await page.content()).includes("secret-key"), "the name of an account is shown");
  await node.call("admin.v1.AdminService/SetOverride", { org: "initech", scope: "account/relay-secret-key-1001", requestId: node.id(), limit: "account", setting: "OVERRIDE_SETTING_AMOUNT", amount: "100" });
  await page.getByText("QUOTA HARD STOP").waitFor({ state: "detached" });
  await page.getByText("1/3 active").waitFor();
});

await step("events come as they happen, and wait while they are paused", async () => {
  await page.goto(`${given.base}/events`);
  await page.getByText(/live, /).waitFor();
  await node.call("admin.v1.AdminService/Freeze", { org: "globex", requestId: node.id(), reason: "watched" });
  await page.getByRole("row", { name: /globex.*Freeze.*watched/ }).waitFor();
  await button(page, "Pause").click();
  await node.call("admin.v1.AdminService/Unfreeze", { org: "globex", requestId: node.id(), reason: "unwatched" });
  await page.getByText(/paused, [1-9]/).waitFor();
  equal(await page.getByText("unwatched").count(), 0, "rows while it is paused");
  await button(page, "Go on").click();
  await page.getByText("unwatched").waitFor();
  await page.getByLabel("Kind").selectOption("near_limit");
  check(page.url().includes("kind=near_limit"), "the address does not have the filter");
});

/** Screens as they are looked at. */
const SCREENS = [["fleet", "/"], ["orgs", "/orgs"], ["acme", "/orgs/acme"], ["globex", "/orgs/globex"], ["initech", "/orgs/initech"], ["cluster", "/cluster"], ["events", "/events"]];

for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    await step(`screens at ${width} px, ${scheme}: nothing is wider than the screen, axe finds nothing serious`, async () => {
      const at = await opened({ token: tokens.admin, width, scheme });
      for (const [name, path] of SCREENS) {
        await at.goto(given.base + path);
        await at.locator("main h1").waitFor();
        await settled(at);
        // Of the fleet two readings make a rate.
        await at.waitForTimeout(name === "fleet" && width > 700 ? 3300 : 200);
        // What is on a phone has the colours of what is on a desk.
        await seen(at, `${name}-${width}-${scheme}`, width > 700 || (scheme === "light" && /orgs|acme/.test(name)));
        if (width < 700) {
          const small = await at.locator("main button:visible, header button:visible").evaluateAll((all) => all.filter((each) => each.getBoundingClientRect().height < 44).map((each) => each.textContent));
          equal(small, [], `buttons of ${name} that a finger misses`);
        }
      }
      await at.goto(`${given.base}/orgs/acme?do=grant`);
      await at.getByRole("dialog").waitFor();
      await seen(at, `grant-${width}-${scheme}`, width > 700);
      await closed(at);
    });
  }
}

await step("it prints without what cannot be pressed on paper", async () => {
  await page.goto(`${given.base}/orgs/acme`);
  await page.getByRole("heading", { name: "acme" }).waitFor();
  await settled(page);
  await page.emulateMedia({ media: "print" });
  equal(await page.locator(".top nav:visible, .actions:visible, main button:visible").count(), 0, "what is pressed");
  await page.pdf({ path: `${given.shots}/acme.pdf`, format: "A4" });
  await page.emulateMedia({ media: "screen" });
});

await step(`a list of ${ORGS} orgs scrolls, and is searched as one types`, async () => {
  await crowd(node, ORGS);
  await page.goto(`${given.base}/orgs`);
  await page.getByText(/^10,003 orgs$/).waitFor({ timeout: 60_000 });
  for (const part of [0.3, 0.6, 1]) {
    await page.evaluate((part) => scrollTo(0, document.documentElement.scrollHeight * part), part);
    await page.waitForFunction(() => [...document.querySelectorAll("tr.row")].some((row) => row.getBoundingClientRect().top > 0 && row.getBoundingClientRect().top < innerHeight));
    check((await page.locator("tr.row").count()) < 120, "rows that nobody sees are in the page");
  }
  await page.getByRole("link", { name: "customer-09999" }).waitFor();
  await page.screenshot({ path: `${given.shots}/orgs-10000-end-1280-light.png` });
  await page.keyboard.press("/");
  await page.keyboard.type("customer-0123");
  await page.getByText(/^10 found$/).waitFor({ timeout: 30_000 });
  await page.goto(`${given.base}/orgs?state=frozen&sort=denied`);
  await page.getByText(/^10 found of 10,003$/).waitFor({ timeout: 30_000 });
  equal(await page.locator("tr.row").first().getByRole("link").textContent(), "customer-09007", "the most denied of the frozen");
  for (const [width, scheme] of [[1280, "light"], [390, "dark"]]) {
    const at = await opened({ token: tokens.admin, width, scheme, path: "/orgs" });
    await at.getByText(/^10,003 orgs$/).waitFor({ timeout: 60_000 });
    await at.screenshot({ path: `${given.shots}/orgs-10000-${width}-${scheme}.png` });
    await at.goto(`${given.base}/`);
    await at.getByRole("link", { name: "customer-09007" }).first().waitFor({ timeout: 60_000 });
    await at.waitForTimeout(1000);
    await at.screenshot({ path: `${given.shots}/fleet-10000-${width}-${scheme}.png`, fullPage: true });
    await closed(at);
  }
});

await step("a login ends with its token, and when the page is not used", async () => {
  for (const [token, minutes, says] of [[tokens.hour, 61, "The login has ended, as its token did"], [tokens.admin, 31, "the page was not used for 30 minutes"]]) {
    const context = await browser.newContext();
    const at = await context.newPage();
    await at.clock.install();
    await at.goto(given.base);
    await signedIn(at, token);
    await at.getByRole("heading", { name: "Fleet" }).waitFor();
    // The node goes on with its own time; what ends here is the page's.
    if (minutes > 31) for (let n = 0; n < 3; n += 1) {
      await at.clock.fastForward(20 * 60_000);
      await at.keyboard.press("Shift");
    }
    await at.clock.fastForward((minutes > 31 ? 1 : minutes) * 60_000);
    await at.getByRole("alert").getByText(says).waitFor();
    equal(await at.evaluate(() => ({ ...sessionStorage })), {}, "what is kept");
    await context.close();
  }
});

await step("a token that is revoked ends the login in a sentence", async () => {
  const at = await opened();
  await signedIn(at, tokens.viewer);
  await at.getByRole("heading", { name: "Fleet" }).waitFor();
  await asked("revoke viewer");
  await at.getByText("The login has ended: the credential is unknown, wrong or revoked").waitFor();
  await at.screenshot({ path: `${given.shots}/revoked-1280-light.png` });
  await closed(at);
});

await step("a node that is away is said to be away, and what is shown is greyed until it is back", async () => {
  expected.away = true;
  const phone = await opened({ token: tokens.admin, width: 390, scheme: "dark", path: "/orgs/acme" });
  await page.goto(`${given.base}/orgs/acme`);
  for (const at of [page, phone]) await at.getByRole("heading", { name: "acme" }).waitFor();
  await settled(page);
  await asked("stop");
  for (const [at, name] of [[page, "away-1280-light"], [phone, "away-390-dark"]]) {
    await at.getByText(/Not connected since \d\d:\d\d:\d\d UTC, retrying/).waitFor();
    await at.locator("#limits .stale").waitFor();
    await at.screenshot({ path: `${given.shots}/${name}.png` });
  }
  await asked("start");
  await page.getByText("Not connected since").waitFor({ state: "detached", timeout: 30_000 });
  await page.locator("#limits .stale").waitFor({ state: "detached" });
  expected.away = false;
  await closed(phone);
});

await step("where the node asks nobody, there is no login, and nothing yet says what would be there", async () => {
  const { base } = await asked("open");
  for (const [width, scheme] of [[1280, "light"], [390, "dark"]]) {
    const at = await opened({ base, width, scheme });
    await at.getByText("no login").waitFor();
    for (const [name, path] of [["fleet", "/"], ["orgs", "/orgs"], ["org", "/orgs/nobody"], ["events", "/events"]]) {
      await at.goto(base + path);
      await at.locator("main h1").waitFor();
      await settled(at);
      await at.locator(".empty").first().waitFor();
      await seen(at, `empty-${name}-${width}-${scheme}`, width > 700);
    }
    await closed(at);
  }
});

await step("no page has said an error, asked elsewhere, or broken its policy", async () => equal(faults, [], "faults"));

await browser.close();
process.exit(0);
