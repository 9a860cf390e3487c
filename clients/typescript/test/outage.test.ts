/**
 * Without a decision: the execution runs or not as the policy says, in its budget, counted; a
 * denied one never runs.
 */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import {
  Code,
  isUnavailable,
  RefusedError,
  tollgate,
  UnavailableError,
  type NoDecision,
  type Settlement,
  type TollgateOptions,
} from "tollgate";
import { FaultProxy, FAULTS, type Fault } from "./faults.js";
import { eventually, fresh, limited, PATIENT_MS, TollgateNode } from "./node.js";

/** No promise about speed: what a machine that stands still for a while may take besides. */
const PATIENCE_MS = 10_000;
const BUDGET_MS = 250;

/** An address at which nobody listens. */
async function nobody(): Promise<string> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return `http://127.0.0.1:${port}`;
}

describe("an outage", () => {
  let node: TollgateNode;
  let proxy: FaultProxy;

  before(async () => {
    node = await TollgateNode.start(limited(1));
    proxy = await FaultProxy.start(() => node.url);
  });
  after(async () => {
    await proxy.close();
    await node.close();
  });

  /** Runs one execution and one that is not to run, and holds them to their budgets. */
  async function opens(url: string, more: Partial<TollgateOptions> = {}): Promise<NoDecision> {
    const events: NoDecision[] = [];
    const tg = tollgate({
      url,
      budgetMs: BUDGET_MS,
      onFailOpen: (event) => events.push(event),
      ...more,
    });
    const org = fresh();
    const began = performance.now();
    const ran = await tg.guard(org, () => "ran");
    assert.ok(ran.allowed && ran.value === "ran" && ran.admission.by === "failOpen");
    assert.ok(performance.now() - began < BUDGET_MS + PATIENCE_MS);
    assert.deepEqual([events.length, tg.stats.failOpen, tg.stats.allowed], [1, 1, 0]);
    await assert.rejects(
      tg.guard(org, { onUnavailable: "closed" }, () => assert.fail("it ran")),
      UnavailableError,
    );
    assert.equal(tg.stats.failClosed, 1);
    assert.equal(events[0]!.org, org);
    return events[0]!;
  }

  for (const fault of FAULTS) {
    it(`${fault}: it runs, counted, in its budget`, async () => {
      proxy.fault = fault;
      const before = proxy.calls;
      const protocols = ["connect", "connect-json", "grpc-web"] as const;
      const events = await Promise.all(protocols.map((protocol) => opens(proxy.url, { protocol })));
      assert.ok(proxy.calls - before >= 2 * protocols.length, "each was tried");
      const retryable = new Set([
        Code.Unavailable,
        Code.Unknown,
        Code.Internal,
        Code.DeadlineExceeded,
        Code.ResourceExhausted,
      ]);
      for (const { error } of events) assert.ok(retryable.has(error.code), String(error));
      if (fault === "draining") assert.equal(events[0]?.error.reason, "DRAINING");
    });
  }

  it("tries again under the same id, whatever has happened to the answer", async () => {
    const twice = async (fault: Fault): Promise<void> => {
      const faults: Fault[] = [fault, fault];
      const tg = tollgate({
        url: proxy.url,
        budgetMs: 2 * PATIENT_MS,
        attemptMs: 1000,
        fetch: (input, init) => {
          const headers = new Headers(init?.headers);
          headers.set("x-fault", faults.pop() ?? "pass");
          return fetch(input, { ...init, headers });
        },
      });
      const org = fresh();
      const ran = await tg.guard(org, () => "ran");
      assert.ok(ran.allowed && ran.admission.by === "tollgate", fault);
      assert.ok(fault === "slow" || tg.stats.retries >= 2, fault);
      assert.ok(!(await tg.check(org)).allowed, "it is charged");
    };
    await Promise.all(FAULTS.map(twice));
  });

  it("says so where nobody listens", async () => {
    const { error } = await opens(await nobody());
    assert.equal(error.code, Code.Unavailable);
    assert.match(error.message, /no connection to http:\/\/127\.0\.0\.1:\d+: /);
  });

  it("runs where a node stands still, and is denied again when it goes on", async () => {
    const tg = tollgate({ url: node.url, budgetMs: BUDGET_MS, breaker: { minMs: 50 } });
    const org = fresh();
    const decided = await tg.guard(org, { budgetMs: PATIENT_MS }, () => "ran");
    assert.ok(decided.allowed && decided.admission.by === "tollgate");
    assert.ok(
      !(await tg.guard(org, { budgetMs: PATIENT_MS }, () => assert.fail("it ran"))).allowed,
    );
    node.signal("SIGSTOP");
    try {
      await opens(node.url);
      for (let times = 0; times < 4; times++) assert.ok((await tg.guard(org, () => "ran")).allowed);
      assert.equal(tg.stats.failOpen, 4);
      assert.notEqual(tg.stats.breaker, "closed");
    } finally {
      node.signal("SIGCONT");
    }
    await eventually(async () => !(await tg.guard(org, () => "ran")).allowed, "it is denied again");
    assert.equal(tg.stats.breaker, "closed");
  });

  it("records what ran without a decision and says what it used, at once or later", async () => {
    const kept: Settlement[] = [];
    const tg = tollgate({
      url: proxy.url,
      budgetMs: BUDGET_MS,
      settleBudgetMs: 2 * PATIENT_MS,
      breaker: { failures: 1 },
      onSettlementFailed: ({ settlement }) => kept.push(settlement),
    });
    const org = fresh();
    const spent = async () => (await tg.budget.get(org, { budgetMs: PATIENT_MS })).periods.daily;
    proxy.fault = "refuse";
    const lasting = await tg.guard(org, (execution) => execution.used({ spend: 5 }));
    assert.ok(lasting.allowed && lasting.admission.by === "failOpen");
    assert.ok(kept.length === 1 && kept[0]!.kind === "record" && kept[0]!.decisionId === "");
    assert.ok(Math.abs(kept[0]!.occurredAtMs - Date.now()) < 60_000);
    proxy.fault = "pass";
    await tg.settle(kept[0]!);
    await tg.settle(kept[0]!);
    assert.equal((await spent())?.spend, 5n);
    const off = tollgate({ url: proxy.url, budgetMs: BUDGET_MS, breaker: { failures: 0 } });
    proxy.fault = "refuse";
    await off.guard(org, (execution) => {
      proxy.fault = "pass";
      execution.used({ spend: 7 });
    });
    assert.equal((await spent())?.spend, 12n);
  });

  it("asks a policy of its own, for each call", async () => {
    const asked: string[] = [];
    const choose = (context: NoDecision) =>
      (asked.push(context.org), context.org.startsWith("vip") ? "open" : "closed") as
        "open" | "closed";
    const tg = tollgate({ url: await nobody(), budgetMs: 20, onUnavailable: choose });
    assert.ok((await tg.guard(fresh("vip"), () => "ran")).allowed);
    await assert.rejects(
      tg.guard(fresh("free"), () => assert.fail("it ran")),
      UnavailableError,
    );
    assert.equal(asked.length, 2);
    const broken = tollgate({
      url: await nobody(),
      budgetMs: 20,
      onUnavailable: () => assert.fail("no policy"),
    });
    await assert.rejects(
      broken.guard(fresh(), () => assert.fail("it ran")),
      UnavailableError,
    );
    assert.deepEqual([broken.stats.failClosed, broken.stats.failOpen], [1, 0]);
  });

  it("takes a refusal of something else for one, whatever its form", async () => {
    for (const type of ["text/html", "application/json"]) {
      for (const [status, name] of [
        [400, "RefusedError"],
        [413, "RefusedError"],
        [401, "RefusedError"],
        [429, "UnavailableError"],
        [503, "UnavailableError"],
      ] as const) {
        for (const body of ['{"error":"no"}', '{"code":400}', "[1]", "no"]) {
          const fetch = async () =>
            new Response(body, { status, headers: { "content-type": type } });
          const tg = tollgate({ url: "http://127.0.0.1:1", fetch, budgetMs: 20 });
          const refused = tg.guard(fresh(), { onUnavailable: "closed" }, () => assert.fail("ran"));
          await assert.rejects(refused, { name }, `${type} ${status} ${body}`);
        }
      }
    }
  });

  it("does not open for mistakes of the caller, unless it is to", async () => {
    proxy.fault = "pass";
    const tg = tollgate({ url: proxy.url });
    await assert.rejects(
      tg.guard("a b", () => assert.fail("it ran")),
      RefusedError,
    );
    const wrong = tollgate({ url: `${proxy.url}/nowhere` });
    await assert.rejects(
      wrong.guard(fresh(), () => assert.fail("it ran")),
      { name: "RefusedError", code: Code.Unimplemented },
    );
    const open = tollgate({
      url: proxy.url,
      isUnavailable: (failure) => isUnavailable(failure) || failure.code === Code.InvalidArgument,
    });
    assert.ok((await open.guard("a b", () => "ran")).allowed);
    // What cannot even be sent is no outage either.
    await assert.rejects(
      tg.guard(7 as unknown as string, () => assert.fail("it ran")),
      { name: "TypeError", message: "org: 7 is not allowed: a string" },
    );
    await assert.rejects(tg.budget.update(fresh(), { daily: 1n }, { expectedVersion: 2n ** 80n }), {
      name: "RefusedError",
      code: Code.InvalidArgument,
    });
    await assert.rejects(
      tg.guard(fresh(), { cost: { executions: 0.5 } }, () => assert.fail("it ran")),
      RangeError,
    );
    await assert.rejects(
      tg.guard(fresh(), { cost: { executions: -1 } }, () => assert.fail("it ran")),
      RangeError,
    );
    assert.deepEqual([tg.stats.refused, tg.stats.failOpen, open.stats.failOpen], [1, 0, 1]);
  });

  it("stops asking a node that hangs, cuts off what waits for it, and probes until it answers", async () => {
    proxy.fault = "hang";
    const tg = tollgate({
      url: proxy.url,
      budgetMs: 200,
      breaker: { failures: 2, minMs: 300, maxMs: 300 },
    });
    await Promise.all(Array.from({ length: 20 }, () => tg.guard(fresh(), () => "ran")));
    assert.deepEqual([tg.stats.failOpen, tg.stats.breaker], [20, "open"]);
    const before = proxy.calls;
    const reasons: string[] = [];
    for (let times = 0; times < 20; times++) {
      const ran = await tg.guard(fresh(), () => "ran");
      if (ran.allowed && ran.admission.by === "failOpen")
        reasons.push(ran.admission.event.error.reason);
    }
    assert.equal(reasons.length, 20);
    assert.ok(
      reasons.filter((reason) => reason === "CIRCUIT_OPEN").length >= 15,
      "most of them were not asked",
    );
    assert.ok(proxy.calls - before <= 5);
    proxy.fault = "pass";
    const org = fresh();
    await eventually(async () => {
      const ran = await tg.guard(org, () => "ran");
      return !ran.allowed || ran.admission.by === "tollgate";
    }, "it is asked again");
    assert.equal(tg.stats.breaker, "closed");
  });

  it("goes to the next address where one does not answer", async () => {
    proxy.fault = "hang";
    for (const urls of [
      [proxy.url, node.url],
      [await nobody(), node.url],
      [node.url, proxy.url],
    ]) {
      const tg = tollgate({ url: urls, budgetMs: PATIENT_MS, attemptMs: 500 });
      for (let times = 0; times < 5; times++) await tg.guard(fresh(), () => "ran");
      assert.deepEqual([tg.stats.failOpen, tg.stats.allowed], [0, 5]);
    }
  });

  it("bridges a restart of the only node", async () => {
    const own = await TollgateNode.start("[rate]\namount = 1000000\n");
    const tg = tollgate({ url: own.url, budgetMs: 2 * PATIENT_MS, attemptMs: 5000 });
    let isOver = false;
    const running = Array.from({ length: 8 }, async () => {
      const org = fresh();
      for (let times = 0; !isOver; times++) {
        const ran = await tg.guard(org, () => "ran");
        assert.ok(ran.allowed);
        await new Promise((next) => setTimeout(next, 10));
      }
    });
    await eventually(() => tg.stats.allowed > 50, "it is under load");
    await own.stop("SIGTERM");
    await own.start();
    const restarted = tg.stats.allowed;
    await eventually(() => tg.stats.allowed > restarted + 50, "it goes on");
    isOver = true;
    await Promise.all(running);
    await own.close();
    assert.equal(tg.stats.failOpen, 0);
    assert.ok(tg.stats.retries > 0, "nothing was restarted");
  });
});
