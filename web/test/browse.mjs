// The page in a browser, against a real node. Run by tests/clients/test_page.py, which starts the node.
import { mkdir } from "node:fs/promises";
import { Node, seed, crowd, spend } from "./seed.mjs";
import { asked, become, browser, check, closed, equal, expected, faults, given, hide, opened, seen, step } from "./steps.mjs";

const { tokens } = given;
const node = new Node(given.base, tokens.admin);
const ORGS = 10_000;
await mkdir(given.shots, { recursive: true });
await seed(node);

const button = (page, name) => page.getByRole("button", { name, exact: true });
// A panel is closed by going back in the history, which calls off a navigation that begins meanwhile.
const left = (page) => page.waitForFunction(() => !document.querySelector("dialog") && !new URLSearchParams(location.search).has("do"));
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
  await signedIn(page, "tollgate_gr\u00fcn");
  await page.getByRole("alert").getByText("A token is one word of ASCII characters").waitFor();
  await signedIn(page, tokens.plane);
  await page.getByText("The token is that of a plane").waitFor();
  check(!(await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }))).includes(tokens.plane), "the token is kept");
  await closed(page);
});

await step("a viewer sees everything and no button of a change", async () => {
  const page = await opened({ path: "/orgs/acme" });
  await signedIn(page, tokens.viewer);
  await page.getByText("Some calls are denied: by budget/daily of workspace/a").waitFor();
  equal(await page.getByText("Blocked").count(), 0, "an org whose calls pass is blocked");
  await page.getByRole("progressbar", { name: "daily budget" }).waitFor();
  for (const name of ["Override", "Grant", "Refund", "Freeze", "Delete", "New session", "Reset"]) {
    equal(await button(page, name).count(), 0, `buttons ${name}`);
  }
  equal(await page.locator("#budgets input").count(), 0, "fields of budgets");
  await page.goto(`${given.base}/orgs/acme?do=freeze`);
  await page.getByText("Some calls are denied").waitFor();
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

await step("a token for one org says so where orgs are listed", async () => {
  const at = await opened({ token: tokens.one, path: "/orgs" });
  await at.getByText(/^1 org$/).waitFor();
  await at.getByText("Only what this token may see: globex").waitFor();
  await closed(at);
});

await step("an org is found from the keyboard alone", async () => {
  await page.goto(`${given.base}/orgs/globex`);
  await page.getByRole("checkbox").focus();
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
  const place = () => page.locator("#limits td, #limits th").evaluateAll((cells) => cells.map((cell) => Math.round(cell.getBoundingClientRect().x)));
  // A screen that is not whole after a second is shown as it is: where the machine stood still, it is loaded again.
  for (let tries = 3; tries > 0 && (await page.evaluate(() => window.shifted)) >= 0.25; tries -= 1) {
    await page.reload();
    await used.waitFor();
    await page.waitForTimeout(1500);
  }
  const loaded = await page.evaluate(() => window.shifted);
  check(loaded < 0.25, `the layout has shifted by ${loaded} while the page came`);
  const before = Number((await used.textContent()).replaceAll(",", ""));
  const [places, shifted] = [await place(), await page.evaluate(() => window.shifted)];
  for (let n = 0; n < 4; n += 1) await node.acquire("acme", { scope: "workspace/b", plane: "executor-eu" });
  await page.waitForFunction((expected) => document.querySelector('[data-used="rate"]').textContent.replaceAll(",", "") === String(expected), before + 4);
  equal(await place(), places, "columns");
  // Of a sentence a digit more moves the words behind it; a hundredth of what a person notices.
  check((await page.evaluate(() => window.shifted)) - shifted < 0.001, "the layout shifts");
});

await step("why it was denied: the limit, the numbers, the gates and what lets it through", async () => {
  await page.getByRole("heading", { name: /denied now/ }).waitFor();
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
  await left(page);
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
  for (const [text, says] of [["1,50", '"1,50": write 1.50'], ["1.0000001", "more than six digits"], ["99999999999", "$10,000,000,000.00 at most"]]) {
    await page.locator("#budget-weekly").fill(text);
    await page.locator("#budgets").getByRole("alert").getByText(says).waitFor();
    check(await page.locator("#budgets .row-end button").last().isDisabled(), `${text} can be reviewed`);
  }
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
  await left(page);
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
    await left(page);
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
  await left(page);
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
  equal(await button(page.getByRole("table", { name: "Accounts of relays" }), "Clear").count(), 0, "buttons that clear what is counted");
  equal(await page.getByRole("button", { name: "Reset the window of sessions" }).count(), 0, "buttons that reset what has no window");
  await node.call("v1.PoolService/ReportOutcome", { org: "initech", pool: "mirrors", account: "mirror-secret-key-1001", status: 429, errorText: "quota exceeded", requestId: node.id() });
  const reported = page.getByRole("table", { name: "Accounts of mirrors" }).getByRole("row", { name: /1001 .*quota exhausted/ });
  await button(reported, "Clear").click();
  const panel = page.getByRole("dialog", { name: "Clear an account" });
  await panel.getByLabel(/^Account /).fill("mirror-secret-key-1001");
  await panel.getByLabel("Reason").fill("its upstream says so");
  await button(panel, "Preview").click();
  await button(panel, "Clear").click();
  await button(panel, "Done").click();
  await left(page);
  await reported.waitFor({ state: "detached" });
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

await step("eight windows of one browser share one stream, and what nobody sees has none", async () => {
  const first = await opened({ token: tokens.admin, path: "/events" });
  const streams = new Set();
  const isStream = (request) => request.url().endsWith("/WatchEvents");
  first.context().on("request", (request) => isStream(request) && streams.add(request));
  for (const ends of ["requestfinished", "requestfailed"]) first.context().on(ends, (request) => streams.delete(request));
  await first.reload();
  const windows = [first];
  while (windows.length < 8) windows.push(await opened({ beside: first, path: "/events" }));
  const told = async (at, reason) => at.getByText(reason).first().waitFor();
  const freeze = (reason) => node.call("admin.v1.AdminService/Freeze", { org: "globex", requestId: node.id(), reason });
  for (const at of windows) await at.getByText(/live, /).waitFor();
  await freeze("told to all");
  for (const at of windows) await told(at, "told to all");
  equal(streams.size, 1, "streams");
  for (const at of windows) equal(await at.locator(".away").count(), 0, "away");
  const holder = [...streams][0].frame().page();
  await hide(holder, true);
  await become(() => streams.size === 1 && [...streams][0].frame().page() !== holder, "a hidden window has the stream");
  await freeze("told to the others");
  for (const at of windows) if (at !== holder) await told(at, "told to the others");
  for (const at of windows) await hide(at, true);
  await become(() => streams.size === 0, "streams of hidden windows");
  await hide(holder, false);
  await told(holder, "told to the others");
  equal(streams.size, 1, "streams of one that is seen again");
  await node.call("admin.v1.AdminService/Unfreeze", { org: "globex", requestId: node.id(), reason: "told" });
  await closed(first);
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

await step("a budget is edited as it is set, whatever stands over it", async () => {
  const override = (limit, more) => node.call("admin.v1.AdminService/SetOverride", { org: "umbrella", requestId: node.id(), limit, reason: "w".repeat(200), ...more });
  await node.budget("umbrella", { hourly: 5, daily: 20, weekly: 5 });
  await node.record("umbrella", spend(6));
  await override("budget/hourly", { setting: "OVERRIDE_SETTING_SHADOW" });
  await override("budget/daily", { setting: "OVERRIDE_SETTING_AMOUNT", amount: "50000000", forMs: String(4 * 3600_000) });
  await override("budget/weekly", { setting: "OVERRIDE_SETTING_UNLIMITED" });
  await page.goto(`${given.base}/orgs/umbrella`);
  await page.getByText(/an override of \$50\.00 holds until \S+ \S+ UTC \(in (4h|3h 59m)\); what is set here holds after it/).waitFor();
  for (const [name, is] of [["hourly", "5.00"], ["daily", "20.00"], ["weekly", "5.00"], ["monthly", ""]]) equal(await page.locator(`#budget-${name}`).inputValue(), is, name);
  await page.getByText("an override to unlimited holds until it is cleared").waitFor();
  await page.locator("#budgets .bar.shadow").waitFor();
  equal(await page.locator("#budgets .share.over").count(), 0, "a shadow is red");
  await page.locator("#budget-daily").fill("30");
  await page.getByRole("link", { name: "Cluster", exact: true }).click();
  await page.getByRole("heading", { name: "Cluster" }).waitFor();
  await page.goBack();
  await page.getByRole("button", { name: "Review 1 change" }).click();
  const panel = page.getByRole("dialog");
  await panel.getByLabel("Reason").fill("agreed");
  await button(panel, "Preview").click();
  equal(await panel.locator(".outcome dd").first().textContent(), "$20.00 → $30.00", "old and new");
  await panel.getByText(/daily: an override of \$50\.00 holds until .*; what is set here holds after it/).waitFor();
  await page.keyboard.press("Escape");
  await left(page);
  await seen(page, "overrides-1280-light");
  const phone = await opened({ token: tokens.admin, width: 390, path: "/orgs/umbrella" });
  await phone.getByText("an override of $50.00").waitFor();
  await seen(phone, "overrides-390-light", false);
  await closed(phone);
});

await step("all that stands in the way is named, and what is enough instead", async () => {
  await node.budget("hooli", { hourly: 5, daily: 5 });
  await node.record("hooli", spend(6));
  await node.acquire("hooli", { reserve: spend(1), requestId: node.id() });
  await page.goto(`${given.base}/orgs/hooli`);
  const ways = page.locator(".blocking .ways").first();
  await ways.getByText("All of these:").waitFor();
  equal(await ways.getByText(/^Raise budget/).count(), 2, "limits to raise");
  await ways.getByText(/^Or wait until/).waitFor();
  await node.call("admin.v1.AdminService/Freeze", { org: "hooli", requestId: node.id(), reason: "unpaid", forMs: String(2 * 3600_000) });
  await page.getByText(/^Frozen \(unpaid\).*; ends in (2h|1h 59m)/).waitFor();
  equal(await page.locator("header.org").getByText("overridden").count(), 0, "a freeze is an override");
});

await step("the address opens what is there, and Back goes back", async () => {
  for (const nothing of ["do=budget", "do=revoke&id=abc", "do=clear", "do=nonsense"]) {
    await page.goto(`${given.base}/orgs/umbrella?${nothing}`);
    await page.locator("#budget-weekly").waitFor();
    await page.waitForFunction((isKnown) => !isKnown || !location.search.includes("do="), !nothing.includes("nonsense"));
    equal(await page.locator("dialog").count(), 0, nothing);
  }
  await page.goto(`${given.base}/orgs/umbrella?do=override&limit=rate&by=scope`);
  await page.getByRole("dialog").waitFor();
  await page.goto(`${given.base}/orgs?q=customer-00`);
  await page.locator("tr.row").nth(20).waitFor();
  await page.evaluate(() => scrollTo(0, 1200));
  await page.waitForTimeout(400);
  await page.evaluate(() => [...document.querySelectorAll("tr.row a")].find((link) => link.getBoundingClientRect().top > 200).click());
  await page.locator("#budget-weekly").waitFor();
  equal(await page.evaluate(() => [document.activeElement.tagName, scrollY]), ["H1", 0], "the focus and the place");
  const org = page.url();
  await button(page.getByRole("group", { name: "Changes" }), "Grant").click();
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await left(page);
  equal(page.url(), org, "the address of a closed panel");
  await page.goBack();
  await page.waitForFunction(() => location.pathname === "/orgs" && Math.abs(scrollY - 1200) < 3);
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await page.waitForFunction(() => document.activeElement.textContent === "Cluster");
});

await step("a browser whose clock is wrong says the node's times", async () => {
  const at = await opened({ token: tokens.admin, path: "/orgs/hooli", wrong: 40 * 3600_000 });
  await at.getByText(/; ends in (2h|1h 5\dm)/).waitFor();
  // By the clock of the browser it would be another day.
  if (new Date().getUTCHours() > 0) await at.getByText(/Today \(UTC\) \d+ allowed, [1-9]\d* denied/).waitFor();
  await at.goto(`${given.base}/events`);
  await at.getByRole("row", { name: /^\d\d:\d\d:\d\d hooli operator .*unpaid/ }).waitFor();
  await closed(at);
});

await step("one node of many that does not answer is its answer, and not that nothing does", async () => {
  expected.away = true;
  const at = await opened({ token: tokens.admin, path: "/orgs/acme" });
  await at.getByRole("heading", { name: "acme" }).waitFor();
  await settled(at);
  await at.route("**/tollgate.v1.BudgetService/GetBudget", (route) =>
    route.fulfill({ status: 503, contentType: "application/json", body: JSON.stringify({ code: "unavailable", message: "its owner node-b does not answer" }) }));
  await at.locator("#budgets").getByText("its owner node-b does not answer").waitFor();
  equal(await at.locator(".away").count(), 0, "what says that no node answers");
  await closed(at);
  expected.away = false;
});

await step("a node that hangs is said to be silent, then away since its last answer, and everything is asked when it is back", async () => {
  expected.away = true;
  const org = await opened({ token: tokens.admin, path: "/orgs/acme" });
  const list = await opened({ token: tokens.admin, path: "/orgs" });
  await org.getByRole("heading", { name: "acme" }).waitFor();
  await list.getByText(/ orgs$/).waitFor({ timeout: 60_000 });
  await settled(org);
  const stopped = Date.now();
  await asked("pause");
  for (const at of [org, list]) await at.getByText(/No answer for \d+s/).waitFor();
  check(Date.now() - stopped < 12_000, `silence is said after ${Date.now() - stopped} ms`);
  for (const at of [org, list]) equal(await at.locator(".node").innerText().then((text) => text.replace(/^\S+ /, "")), "no answer", "the node");
  await org.locator("#limits .stale").waitFor();
  await list.locator("table.orgs.stale").waitFor();
  await list.getByText(/orgs, as of \d+s ago/).waitFor();
  await org.screenshot({ path: `${given.shots}/silent-1280-light.png` });
  await list.screenshot({ path: `${given.shots}/silent-orgs-1280-light.png` });
  for (const at of [org, list]) {
    await at.getByText(/Not connected since/).waitFor({ timeout: 30_000 });
    const [, hour, minute, second] = /since (\d\d):(\d\d):(\d\d) UTC/.exec(await at.locator(".away").textContent());
    const since = new Date(stopped).setUTCHours(Number(hour), Number(minute), Number(second));
    check(Math.abs(since - stopped) < 11_000, `it answered last at ${hour}:${minute}:${second}, stopped ${new Date(stopped).toISOString()}`);
  }
  await asked("resume");
  for (const at of [org, list]) {
    await at.locator(".away").waitFor({ state: "detached", timeout: 8000 });
    await at.locator("main .stale").first().waitFor({ state: "detached", timeout: 8000 });
  }
  await closed(org);
  await closed(list);
  expected.away = false;
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
