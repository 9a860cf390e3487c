/** R-PIPE-5, R-PIPE-6, R-BAL-7, R-BAL-8: a guarded execution, against a real node. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  Code,
  DeniedError,
  formatUsd,
  orThrow,
  requestId,
  tollgate,
  usd,
  type Settlement,
  type Tollgate,
} from "tollgate";
import { AdminService } from "tollgate/admin";
import { FaultProxy } from "./faults.js";
import { fresh, limited, PATIENT_MS, TollgateNode } from "./node.js";
import { expected, PLAN, story } from "./story.js";

describe("guard", () => {
  let node: TollgateNode;
  let proxy: FaultProxy;
  let tg: Tollgate;

  before(async () => {
    node = await TollgateNode.start(limited(2, PLAN));
    proxy = await FaultProxy.start(() => node.url);
    proxy.fault = "hang";
    tg = tollgate({ url: node.url, plane: "test", budgetMs: PATIENT_MS });
  });
  after(async () => {
    await proxy.close();
    await node.close();
  });

  async function used(org: string, limit: string): Promise<bigint | undefined> {
    return (await tg.status(org)).limits.find(({ name }) => name === limit)?.used;
  }

  for (const protocol of ["connect", "connect-json", "grpc-web"] as const) {
    for (const port of ["url", "httpUrl"] as const) {
      it(`tells the story in Node over ${protocol} on ${port}`, async () => {
        assert.deepEqual(await story(node[port], proxy.url, protocol, fresh()), expected);
      });
    }
  }

  it("charges what is asked for twice under one id once", async () => {
    const org = fresh();
    const id = requestId();
    for (let times = 0; times < 3; times++) {
      const ran = await tg.guard(org, { requestId: id }, () => "ran");
      assert.equal(
        ran.allowed && ran.admission.by === "tollgate" && ran.admission.decision.replayed,
        times > 0,
      );
    }
    assert.equal(await used(org, "quota/executions/calendar/year"), 1n);
  });

  it("does not run what is denied, and hands it on as an error only where that is asked for", async () => {
    const org = fresh();
    const denied = await tg.guard(org, { cost: { executions: 3 } }, () => assert.fail("it ran"));
    assert.ok(!denied.allowed && denied.denial.message !== "" && denied.denial.httpStatus === 402);
    assert.throws(
      () => orThrow(denied),
      (error) => error instanceof DeniedError && error.denial === denied.denial,
    );
    assert.equal(await used(org, "quota/executions/calendar/year"), 0n);
  });

  it("throws what the execution throws, and gives its reservation back", async () => {
    const org = fresh();
    const failed = tg.guard(org, { reserve: { spend: usd(2) } }, () =>
      Promise.reject(new Error("mine")),
    );
    await assert.rejects(failed, /^Error: mine$/);
    const { limits } = await tg.status(org);
    const budget = limits.find(({ name }) => name === "budget/monthly");
    assert.deepEqual([budget?.used, budget?.reserved], [0n, 0n]);
  });

  it("commits what a failed execution has used", async () => {
    const org = fresh();
    const failed = tg.reserve(org, { amounts: { spend: usd(2) } }, (_, execution) => {
      execution.used({ spend: usd("0.10") });
      execution.used({ spend: usd("0.05") });
      throw new Error("mine");
    });
    await assert.rejects(failed, /mine/);
    assert.equal(formatUsd((await used(org, "budget/monthly")) ?? 0n), "$0.15");
  });

  it("commits what was reserved where nothing was said, and nothing twice", async () => {
    const [silent, own] = [fresh(), fresh()];
    await tg.reserve(silent, { amounts: { spend: usd(2) } }, () => "ran");
    assert.equal(await used(silent, "budget/monthly"), usd(2));
    await tg.reserve(own, { amounts: { spend: usd(2) } }, async (hold) => {
      assert.ok((await hold!.extend(60_000)) > 50_000);
      await hold!.commit({ spend: usd(1) });
      await hold!.commit({ spend: usd(1) });
    });
    assert.equal(await used(own, "budget/monthly"), usd(1));
    assert.equal(tg.stats.settlementsFailed, 0);
  });

  it("counts in every scope that is named", async () => {
    const org = fresh();
    await tg.guard(org, { scope: ["workspace/a", "agent/b"] }, (execution) =>
      execution.used({ spend: usd(1) }),
    );
    for (const scope of ["workspace/a", "agent/b", ""]) {
      assert.equal((await tg.budget.get(org, { scope })).periods.daily?.spend, usd(1), scope);
    }
  });

  it("counts continuations of a paused execution and never denies them", async () => {
    const org = fresh();
    const paused = await tg.guard(org, { pausable: true, cost: { executions: 2 } }, (execution) => {
      execution.used({ spend: 5 });
      return execution.pause();
    });
    assert.ok(paused.allowed);
    // As another process has it, which reads it from its database.
    const ticket = JSON.parse(JSON.stringify(paused.value)) as typeof paused.value;
    assert.equal(await used(org, "budget/monthly"), 0n, "it has not completed");
    assert.ok(!(await tg.check(org)).allowed, "the quota is used up");
    const again = await tg.resume(ticket, (execution) => execution.pause());
    assert.equal(
      await tg.resume(again, (execution) => (execution.used({ spend: 3 }), "done")),
      "done",
    );
    assert.equal(await used(org, "budget/monthly"), 8n);
    const counted = await tg.raw.gate.resume({ org, executionId: ticket.executionId });
    assert.equal(counted.continuations, 3n);
  });

  it("sends a settlement again that was lost, and it counts once", async () => {
    const org = fresh();
    const kept: Settlement[] = [];
    const lossy = await FaultProxy.start(() => node.url);
    const own = tollgate({
      url: lossy.url,
      settleBudgetMs: 100,
      onSettlementFailed: ({ settlement }) => kept.push(settlement),
    });
    await own.guard(org, (execution) => {
      lossy.fault = "lose";
      execution.used({ spend: usd(1) });
    });
    assert.equal(kept.length, 1);
    assert.equal(own.stats.settlementsFailed, 1);
    await tg.settle(JSON.parse(JSON.stringify(kept[0])) as Settlement);
    assert.equal(await used(org, "budget/monthly"), usd(1));
    await lossy.close();
  });

  it("does not wait for settlements that somebody else waits for", async () => {
    const org = fresh();
    const handed: Promise<unknown>[] = [];
    const own = tollgate({ url: node.url, waitUntil: (settled) => handed.push(settled) });
    await own.guard(org, (execution) => execution.used({ spend: 7 }));
    assert.equal(handed.length, 1);
    await own.flush();
    assert.equal(await used(org, "budget/monthly"), 7n);
  });

  it("lets a caller end its wait, and does not take that for an outage", async () => {
    const own = tollgate({ url: proxy.url, onUnavailable: "open" });
    const ends = new AbortController();
    const waiting = own.guard(fresh(), { signal: ends.signal }, () => assert.fail("it ran"));
    setTimeout(() => ends.abort(new Error("gone")), 20);
    await assert.rejects(waiting, /gone/);
    assert.deepEqual([own.stats.failOpen, own.stats.breaker], [0, "closed"]);
  });

  it("reaches the services of operators", async () => {
    const answer = await tg.raw.client(AdminService).getNode({});
    assert.match(answer.version, /^\d/);
    await assert.rejects(
      tg.call((options) => tg.raw.pool.getPool({ org: fresh(), pool: "none" }, options)),
      { code: Code.NotFound, reason: "POOL_UNKNOWN" },
    );
  });

  it("refuses options that are mistakes by their name", async () => {
    assert.throws(
      () => tollgate({ url: "localhost:7070" }),
      /url: "localhost:7070" is not allowed/,
    );
    assert.throws(() => tollgate({ url: [] }), /url: \[\] is not allowed/);
    assert.throws(() => tollgate({ url: node.url, budgetMs: 0 }), /budgetMs: 0 is not allowed/);
    for (const name of ["budgetMs", "attemptMs", "settleBudgetMs"])
      assert.throws(() => tollgate({ url: node.url, [name]: 1e12 }), RangeError, name);
    const run = () => assert.fail("it ran");
    await assert.rejects(
      tg.guard(fresh(), { reserve: { spend: 1 }, ttlMs: 1e19 }, run),
      RangeError,
    );
    await assert.rejects(tg.guard(fresh(), { budgetMs: 1e12 }, run), RangeError);
    assert.throws(
      () => tollgate({ url: node.url, onUnavailable: "opne" as "open" }),
      /onUnavailable: opne is not allowed/,
    );
  });
});
