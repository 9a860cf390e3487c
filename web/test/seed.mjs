// Orgs that show what the page is for, made by calls of the API like those of planes and operators.
const MICRO = 1_000_000;

/** Calls of one node in JSON. */
export class Node {
  constructor(base, token) {
    Object.assign(this, { base, token, count: 0 });
  }

  async call(rpc, body) {
    const headers = { "content-type": "application/json", ...(this.token ? { authorization: `Bearer ${this.token}` } : {}) };
    const answer = await fetch(`${this.base}/tollgate.${rpc}`, { method: "POST", headers, body: JSON.stringify(body) });
    const json = await answer.json();
    if (!answer.ok) throw new Error(`${rpc} ${JSON.stringify(body).slice(0, 300)}: ${json.code}: ${json.message}`);
    return json;
  }

  id() {
    this.count += 1;
    return `seed-${Date.now()}-${this.count}`;
  }

  acquire(org, more = {}) {
    return this.call("v1.GateService/Acquire", { org, ...more });
  }

  record(org, usage, more = {}) {
    return this.call("v1.GateService/Record", { org, usage, requestId: this.id(), ...more });
  }

  budget(org, limits, scope = "") {
    const periods = Object.fromEntries(Object.entries(limits).map(([name, dollars]) => [name, { limit: String(Math.round(dollars * MICRO)) }]));
    return this.call("v1.BudgetService/UpdateBudget", { org, scope, periods, requestId: this.id(), reason: "agreed with the customer" });
  }

  async batch(items) {
    for (let at = 0; at < items.length; at += 250) {
      await this.call("v1.GateService/AcquireBatch", { items: items.slice(at, at + 250) });
    }
  }
}

export const spend = (dollars) => [{ meter: "spend", amount: String(Math.round(dollars * MICRO)) }];

/** `acme`: denied by the daily budget of a workspace, near the one of the org, with sessions, reservations and history. */
async function acme(node, now) {
  const day = 86_400_000;
  for (let back = 29; back > 1; back -= 1) {
    const busy = 1 + ((back * 7) % 5);
    for (const [scope, share] of [["workspace/a", 3], ["workspace/b", 2], ["workspace/batch", 1]]) {
      await node.record("acme", [{ meter: "spend", amount: String(busy * share * 90_000) }, { meter: "executions", amount: String(busy * share) }], { scope, occurredAtMs: String(now - back * day) });
    }
  }
  await node.budget("acme", { hourly: 46, daily: 50, monthly: 100 });
  await node.budget("acme", { daily: 2 }, "workspace/a");
  await node.record("acme", spend(1.95), { scope: "workspace/a" });
  await node.record("acme", spend(38.4), { scope: "workspace/b" });
  for (let n = 0; n < 12; n += 1) {
    await node.acquire("acme", { scope: "workspace/b", plane: n % 3 ? "executor-eu" : "executor-us" });
    await node.acquire("acme", { scope: "workspace/a", plane: "executor-eu", reserve: spend(0.4), requestId: node.id() });
  }
  await node.acquire("acme", { scope: "workspace/b", plane: "executor-eu", reserve: spend(3.5), requestId: node.id(), reservationTtlMs: "3600000" });
  await node.call("admin.v1.AdminService/SetOverride", {
    org: "acme", requestId: node.id(), limit: "rate", setting: "OVERRIDE_SETTING_AMOUNT", amount: "5000", forMs: String(4 * 3600_000), reason: "launch, ticket 4711",
  });
  await node.call("admin.v1.AdminService/Grant", { org: "acme", requestId: node.id(), limit: "budget/monthly", amount: String(25 * MICRO), forMs: String(2 * 3600_000), reason: "launch, ticket 4711" });
}

/** `globex`: its sessions have used up the month. */
async function globex(node) {
  await node.call("admin.v1.AdminService/SetPlan", { org: "globex", requestId: node.id(), change: "PLAN_CHANGE_SET", plan: "free", reason: "trial is over" });
  await node.call("v1.SessionService/StartSession", { org: "globex", sessionId: "vm-1", identity: "user@globex.example", requestId: node.id(), plane: "sessions-eu" });
  await node.call("v1.SessionService/Heartbeat", { org: "globex", sessionId: "vm-1", identity: "user@globex.example", incarnation: "boot-1", totalSeconds: "280" });
  await node.record("globex", [{ meter: "compute", amount: String(4 * 3600_000) }]);
  for (let n = 0; n < 3; n += 1) {
    await node.call("v1.SessionService/StartSession", { org: "globex", sessionId: `vm-${n + 2}`, identity: "user@globex.example", requestId: node.id(), plane: "sessions-eu" });
  }
  for (let n = 0; n < 5; n += 1) await node.acquire("globex", { plane: "executor-eu" });
}

/** `initech`: one pool at its end, one that goes. */
async function initech(node) {
  const accounts = (name, daily) => [1, 2, 3].map((n) => ({ account: `${name}-secret-key-${n}00${n}`, dailyLimit: String(daily), safetyBuffer: "1" }));
  await node.call("v1.PoolService/ConfigurePool", { org: "initech", pool: "relays", requestId: node.id(), accounts: accounts("relay", 4) });
  await node.call("v1.PoolService/ConfigurePool", { org: "initech", pool: "mirrors", requestId: node.id(), accounts: accounts("mirror", 40) });
  for (const [pool, picks] of [["relays", 11], ["mirrors", 58]]) {
    for (let n = 0; n < picks; n += 1) {
      const picked = await node.call("v1.PoolService/Pick", { org: "initech", pool, requestId: node.id() });
      if (!picked.allowed) continue;
      await node.call("v1.PoolService/ReportOutcome", {
        org: "initech", pool, account: picked.account, pickedAtMs: picked.pickedAtMs, status: n % 9 === 4 ? 502 : 200, bytesUp: "2400", bytesDown: String(180_000 + 1000 * (n % 40)),
      });
    }
  }
  await node.acquire("initech", { pool: "relays", plane: "relay-1" });
}

/** The three orgs, and two that say nothing new. */
export async function seed(node) {
  const now = Date.now();
  await acme(node, now);
  await globex(node);
  await initech(node);
}

/** Many orgs, a few of them in some trouble. */
export async function crowd(node, count) {
  const name = (n) => `customer-${String(n).padStart(5, "0")}`;
  const items = [];
  for (let n = 0; n < count; n += 1) {
    items.push({ org: name(n), plane: "executor-eu", ...(n % 97 === 0 ? { cost: [{ meter: "executions", amount: "860" }] } : {}) });
  }
  await node.batch(items);
  for (let n = 0; n < count; n += 1000) {
    await node.call("admin.v1.AdminService/Freeze", { org: name(n + 7), requestId: node.id(), reason: "unpaid" });
    for (let again = 0; again < 3 + n / 1000; again += 1) await node.acquire(name(n + 7), { plane: "executor-us" });
  }
}

export const CONFIG = `
[bounds]
new_orgs_per_minute = 100000
new_orgs_per_caller = 100000
[billing]
upgrade_url = "https://billing.example.com/upgrade"
[defaults]
plan = "standard"
[plans.free]
compute = { calendar_month = "4h" }
executions = { calendar_month = 1000 }
max_sessions = 1
[plans.standard]
executions = { calendar_month = 1000 }
compute = { calendar_month = "40h" }
max_sessions = 2
[plans.max]
compute = { calendar_month = "160h" }
max_sessions = 3
`;
