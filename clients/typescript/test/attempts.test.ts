/**
 * R-PIPE-6, R-BAL-7, R-BAL-8: executions that fail and are tried again, that nobody waits for, or whose
 * settlement does not arrive. What is recorded is exact.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  requestId,
  tollgate,
  type Execution,
  type GuardOptions,
  type Settlement,
  type Ticket,
  type Tollgate,
} from "tollgate";
import { FaultProxy } from "./faults.js";
import { eventually, fresh, limited, PATIENT_MS, TollgateNode } from "./node.js";

/** An execution that uses so much, if anything, and throws. */
function failing(spend = 0) {
  return (execution: Execution): never => {
    if (spend > 0) execution.used({ spend });
    throw new Error("mine");
  };
}

describe("attempts", () => {
  let node: TollgateNode;
  let proxy: FaultProxy;
  let tg: Tollgate;
  const unsettled: Settlement[] = [];

  before(async () => {
    node = await TollgateNode.start(limited(9, 'spend = { monthly = "$5" }'));
    proxy = await FaultProxy.start(() => node.url);
    tg = tollgate({
      url: node.url,
      budgetMs: PATIENT_MS,
      onSettlementFailed: ({ settlement }) => unsettled.push(settlement),
    });
  });
  after(async () => {
    await proxy.close();
    await node.close();
    assert.deepEqual(unsettled, [], "nothing was refused");
  });

  /** What is used, and what is held. */
  async function spend(org: string): Promise<[number, number]> {
    const monthly = (await tg.budget.get(org)).periods.monthly;
    return [Number(monthly?.spend), Number(monthly?.reserved)];
  }

  async function paused(org: string, options: GuardOptions, used = 5): Promise<Ticket> {
    const ran = await tg.guard(org, { ...options, pausable: true }, (execution) => {
      execution.used({ spend: used });
      return execution.pause();
    });
    assert.ok(ran.allowed);
    return ran.value;
  }

  const using = (amount: number) => (execution: Execution) => execution.used({ spend: amount });

  it("records what a ticket carries once, however often the continuation fails", async () => {
    const org = fresh();
    const ticket = await paused(org, {});
    await assert.rejects(tg.resume(ticket, failing()), /mine/);
    await assert.rejects(tg.resume(ticket, failing(3)), /mine/);
    assert.deepEqual(await spend(org), [3, 0], "what the attempt alone has used");
    await tg.resume(ticket, using(7));
    assert.deepEqual(await spend(org), [15, 0]);
  });

  it("keeps the hold of a continuation that fails for the one that ends it", async () => {
    const [used, silent] = [fresh(), fresh()];
    const ticket = await paused(used, { reserve: { spend: 100 } });
    await assert.rejects(tg.resume(ticket, failing()), /mine/);
    assert.deepEqual(await spend(used), [0, 100]);
    await tg.resume(ticket, using(7));
    assert.deepEqual(await spend(used), [12, 0]);
    const nothing = await paused(silent, { reserve: { spend: 100 } }, 0);
    await assert.rejects(tg.resume(nothing, failing(3)), /mine/);
    await tg.resume(nothing, using(60));
    assert.deepEqual(await spend(silent), [63, 0]);
  });

  it("settles by the ticket what has paused and then throws", async () => {
    for (const reserve of [undefined, { spend: 100 }]) {
      const org = fresh();
      let ticket: Ticket | undefined;
      const thrown = tg.guard(org, { reserve, pausable: true }, (execution) => {
        execution.used({ spend: 5 });
        ticket = execution.pause();
        execution.used({ spend: 2 });
        throw new Error("mine");
      });
      await assert.rejects(thrown, /mine/);
      assert.deepEqual(await spend(org), [2, reserve ? 100 : 0]);
      await tg.resume(ticket!, () => "done");
      assert.deepEqual(await spend(org), [7, 0]);
    }
  });

  it("ends a continuation for good where it says so", async () => {
    const [said, always] = [fresh(), fresh()];
    const ticket = await paused(said, { reserve: { spend: 100 } });
    await tg.resume(ticket, (execution) => execution.failed());
    assert.deepEqual(await spend(said), [5, 0]);
    const other = await paused(always, { reserve: { spend: 100 } }, 0);
    await assert.rejects(tg.resume(other, { completeOn: "always" }, failing()), /mine/);
    assert.deepEqual(await spend(always), [0, 0]);
  });

  it("settles work that is delivered again under its own id", async () => {
    const [held, free] = [fresh(), fresh()];
    const work = { requestId: requestId(), reserve: { spend: 100 } };
    await assert.rejects(tg.guard(held, work, failing()), /mine/);
    assert.deepEqual(await spend(held), [0, 100]);
    for (let times = 0; times < 2; times++) await tg.guard(held, work, using(60));
    assert.deepEqual(await spend(held), [60, 0]);
    const other = { requestId: requestId() };
    await assert.rejects(tg.guard(free, other, failing(20)), /mine/);
    await assert.rejects(tg.guard(free, other, failing(20)), /mine/);
    for (let times = 0; times < 2; times++) await tg.guard(free, other, using(30));
    assert.deepEqual(await spend(free), [70, 0]);
    const last = { ...work, requestId: requestId() };
    await tg.guard(held, last, (execution) => execution.failed());
    assert.deepEqual(await spend(held), [60, 0], "nobody tries it again");
  });

  it("waits itself where waitUntil throws, and throws what the execution throws", async () => {
    const context = {
      waitUntil(this: unknown, _: Promise<unknown>): void {
        if (this !== context) throw new TypeError("Illegal invocation");
      },
    };
    const org = fresh();
    const unbound = { waitUntil: context.waitUntil };
    const ran = await tg.guard(org, unbound, using(5));
    assert.ok(ran.allowed);
    assert.deepEqual(await spend(org), [5, 0]);
    await assert.rejects(tg.guard(org, unbound, failing(1)), /mine/);
    assert.equal(await tg.resume(await paused(org, {}), unbound, () => "done"), "done");
    assert.deepEqual(await spend(org), [11, 0]);
  });

  it("flushes the counts of continuations as well", async () => {
    const org = fresh();
    const ticket = await paused(org, {});
    const slow = await FaultProxy.start(() => node.url);
    slow.fault = "slow";
    const own = tollgate({ url: slow.url, budgetMs: PATIENT_MS, waitUntil: () => {} });
    await own.resume(ticket, (execution) => void execution.pause());
    void own.countResume(org, ticket.executionId);
    await own.flush();
    await slow.close();
    const counted = await tg.raw.gate.resume({ org, executionId: ticket.executionId });
    assert.deepEqual([counted.continuations, own.stats.resumedUncounted], [3n, 0]);
  });

  it("gives back a hold that is granted when nobody waits any more", async () => {
    const slow = await FaultProxy.start(() => node.url);
    slow.fault = "slow";
    const own = tollgate({ url: slow.url, budgetMs: PATIENT_MS });
    const org = fresh();
    const ends = new AbortController();
    const options = { reserve: { spend: 100 }, signal: ends.signal };
    const waiting = own.guard(org, options, () => assert.fail("it ran"));
    await eventually(async () => (await spend(org))[1] === 100, "the node holds it");
    ends.abort(new Error("gone"));
    await assert.rejects(waiting, /gone/);
    await own.flush();
    assert.deepEqual(await spend(org), [0, 0]);
    await slow.close();
  });

  it("does not hold an execution without a decision for longer than one budget", async () => {
    const kept: Settlement[] = [];
    proxy.fault = "hang";
    const own = tollgate({
      url: proxy.url,
      budgetMs: 200,
      settleBudgetMs: 600_000,
      onSettlementFailed: ({ settlement }) => kept.push(settlement),
    });
    const ran = await own.guard(fresh(), using(5));
    assert.ok(ran.allowed && ran.admission.by === "failOpen" && own.stats.breaker === "closed");
    await assert.rejects(own.guard(fresh(), failing(5)), /mine/);
    assert.equal(kept.length, 2);
  });
});
