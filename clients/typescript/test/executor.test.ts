/** R-BAL-7, R-BAL-8: an executor with a gate in front. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  DeniedError,
  gated,
  tollgate,
  type GatedOptions,
  type Ticket,
  type Tollgate,
} from "tollgate";
import { fresh, limited, PATIENT_MS, TollgateNode } from "./node.js";

type Result =
  | { status: "completed"; value: string }
  | { status: "failed"; error: string }
  | { status: "paused"; executionId: string };

/** An executor as execution platforms have one. */
class CodeExecutor {
  readonly name = "code";
  readonly #ran: string[] = [];

  async execute(code: string): Promise<Result> {
    this.#ran.push(code);
    return code === "fail"
      ? { status: "failed", error: "mine" }
      : { status: "completed", value: code };
  }

  async executeWithPause(code: string): Promise<Result> {
    const done = await this.execute(code);
    return code.startsWith("pause") ? { status: "paused", executionId: code } : done;
  }

  async resume(executionId: string, answer: string): Promise<Result> {
    this.#ran.push(answer);
    return answer === "again"
      ? { status: "paused", executionId }
      : { status: "completed", value: answer };
  }

  ran(): readonly string[] {
    return this.#ran;
  }
}

describe("a gated executor", () => {
  let node: TollgateNode;
  let tg: Tollgate;

  before(async () => {
    node = await TollgateNode.start(limited(2, 'spend = { monthly = "$5" }'));
    tg = tollgate({ url: node.url, budgetMs: PATIENT_MS });
  });
  after(() => node.close());

  function executor(org: string, more: Partial<GatedOptions<Result>> = {}) {
    return gated(new CodeExecutor(), tg, {
      org,
      isFailure: (result) => result.status === "failed",
      ...more,
    });
  }

  async function executions(org: string): Promise<bigint | undefined> {
    return (await tg.status(org)).limits.find(
      ({ name }) => name === "quota/executions/calendar/year",
    )?.used;
  }

  it("asks before it runs, once for each execution, and runs nothing that is denied", async () => {
    const org = fresh();
    const own = executor(org);
    assert.deepEqual(await own.execute("a"), { status: "completed", value: "a" });
    assert.deepEqual(await own.executeWithPause("b"), { status: "completed", value: "b" });
    assert.equal(await executions(org), 2n);
    await assert.rejects(own.execute("c"), DeniedError);
    await assert.rejects(own.executeWithPause("c"), DeniedError);
    assert.deepEqual([own.ran(), own.name], [["a", "b"], "code"]);
  });

  it("answers a denial in the form of the executor's own failures", async () => {
    const own = executor(fresh(), {
      guard: { cost: { executions: 9 } },
      onDenied: (denial) => ({ status: "failed", error: denial.codeName }),
    });
    assert.deepEqual(await own.execute("a"), { status: "failed", error: "QUOTA_EXCEEDED" });
  });

  it("leaves everything else as it is, also of an object that is frozen", async () => {
    const frozen = Object.freeze({
      limit: 7,
      execute: (code: string) => code,
      close: () => "closed",
    });
    const own = gated(frozen, tg, { org: fresh() });
    assert.deepEqual(
      [await own.execute("a"), own.close(), own.limit, "execute" in own],
      ["a", "closed", 7, true],
    );
    assert.ok(executor(fresh()) instanceof CodeExecutor);
  });

  it("never denies a continuation, and completes what has paused", async () => {
    const org = fresh();
    const own = executor(org, { guard: { reserve: { spend: 100 } } });
    assert.equal((await own.executeWithPause("pause-1")).status, "paused");
    await own.execute("b");
    const before = await tg.raw.gate.listReservations({ org });
    assert.equal(before.reservations.length, 1, "what has paused holds on");
    assert.equal((await own.resume("pause-1", "again")).status, "paused");
    assert.deepEqual(await own.resume("pause-1", "done"), {
      status: "completed",
      value: "done",
    });
    assert.equal(
      (await tg.raw.gate.listReservations({ org })).reservations.length,
      0,
      "it is settled",
    );
    assert.equal(await executions(org), 2n, "a continuation is no execution");
    assert.deepEqual(await own.resume("of-another-process", "done"), {
      status: "completed",
      value: "done",
    });
  });

  it("goes on with its ticket after a continuation that has thrown", async () => {
    const org = fresh();
    let isBroken = true;
    const flaky = {
      executeWithPause: (executionId: string) => ({ status: "paused" as const, executionId }),
      resume(_: string) {
        if (isBroken) throw new Error("mine");
        return { status: "completed" as const, value: "done" };
      },
    };
    const own = gated(flaky, tg, { org, guard: { reserve: { spend: 100 } } });
    await own.executeWithPause("e-1");
    await assert.rejects(own.resume("e-1"), /mine/);
    const { reservations } = await tg.raw.gate.listReservations({ org });
    assert.equal(reservations.length, 1, "it holds on");
    isBroken = false;
    // The methods of a synchronous executor return promises: both the value and the type say so.
    const resumed: Promise<{ value: string }> = own.resume("e-1");
    assert.equal((await resumed).value, "done");
    const { periods } = await tg.budget.get(org);
    assert.deepEqual([periods.monthly?.spend, periods.monthly?.reserved], [100n, 0n]);
  });

  it("stops nothing because its tickets cannot be kept", async () => {
    const failed: string[] = [];
    const down = (): never => {
      throw new Error("the store is away");
    };
    const kept = new Map<string, Ticket>();
    const stores = [
      { get: down, set: down, delete: down },
      { get: down, set: (id: string, ticket: Ticket) => kept.set(id, ticket), delete: down },
    ];
    for (const tickets of stores) {
      const org = fresh();
      const options = { tickets, onTicketsFailed: (_: unknown, id: string) => failed.push(id) };
      const own = executor(org, { ...options, guard: { reserve: { spend: 100 } } });
      assert.equal((await own.executeWithPause("pause-1")).status, "paused");
      const { reservations } = await tg.raw.gate.listReservations({ org });
      assert.equal(
        reservations.length,
        tickets.set === down ? 0 : 1,
        "what nobody settles is free",
      );
      assert.equal((await own.resume("pause-1", "done")).status, "completed");
    }
    assert.deepEqual(failed, Array<string>(5).fill("pause-1"));
  });

  it("does not complete what it returns as a failure", async () => {
    const org = fresh();
    const own = executor(org, { guard: { reserve: { spend: 100 } } });
    assert.deepEqual(await own.execute("fail"), { status: "failed", error: "mine" });
    const budget = await tg.budget.get(org);
    assert.deepEqual([budget.periods.monthly?.spend, budget.periods.monthly?.reserved], [0n, 0n]);
  });
});
