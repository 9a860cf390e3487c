/** R-SES-1, R-SES-3: a session as its host runs it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { SessionState } from "tollgate/messages";
import { tollgate, type SessionOptions, type SessionStop, type Tollgate } from "tollgate";
import { FaultProxy } from "./faults.js";
import { eventually, fresh, PACKAGE, PATIENT_MS, TollgateNode } from "./node.js";

/** Two minutes in a month, and heartbeats as often as a node can ask for them. */
const CONFIG = `[plans.all]\ncompute = { calendar_month = "2m" }\nmax_sessions = 2\n[defaults]\nplan = "all"\n[sessions]\nheartbeat = "1s"\nfirst_slice = "10s"\n`;

describe("a session", () => {
  let node: TollgateNode;
  let proxy: FaultProxy;
  let tg: Tollgate;

  before(async () => {
    node = await TollgateNode.start(CONFIG);
    proxy = await FaultProxy.start(() => node.url);
    tg = tollgate({ url: node.url, plane: "host", budgetMs: PATIENT_MS });
  });
  after(async () => {
    await proxy.close();
    await node.close();
  });

  async function running(org: string, options: Partial<SessionOptions> = {}) {
    const start = await tg.session(org, {
      identity: "user 7",
      onStop: () => assert.fail("it was stopped"),
      ...options,
    });
    assert.ok(start.allowed);
    return start.session;
  }

  it("beats by itself with its total, and ends with the last one", async () => {
    const org = fresh();
    let total = 3;
    const session = await running(org, { totalSeconds: () => total });
    const stored = async () =>
      (await tg.raw.session.getSession({ org, sessionId: session.sessionId })).session!;
    await eventually(
      async () => (await stored()).bookedMs === 3000n,
      "the timer has sent a heartbeat",
    );
    total = 5;
    await session.end();
    const ended = await stored();
    assert.deepEqual(
      [ended.state, ended.bookedMs, ended.identity],
      [SessionState.ENDED, 5000n, "user 7"],
    );
    await session.end();
  });

  it("warns once for each mark and stops once", async () => {
    const org = fresh();
    const percents: number[] = [];
    const stops: SessionStop[] = [];
    let total = 0;
    const session = await running(org, {
      totalSeconds: () => total,
      onWarn: ({ percent }) => percents.push(percent),
      onStop: (stop) => stops.push(stop),
    });
    for (total of [50, 97, 98, 115, 116, 121, 122]) await session.heartbeat();
    assert.deepEqual(percents, [80, 95]);
    assert.equal(stops.length, 1);
    assert.ok(
      stops[0]!.why === "quota" && stops[0]!.message !== "" && stops[0]!.quotaMs === 120_000,
    );
    assert.ok(session.isStopping);
    await session.end();
    const next = await tg.session(org, { identity: "user 7", onStop: () => {} });
    assert.ok(!next.allowed && next.denial.codeName === "QUOTA_EXCEEDED");
  });

  it("is lost once where the node knows no such session", async () => {
    const org = fresh();
    const lost: string[] = [];
    const session = await running(org, { onLost: ({ reason }) => lost.push(reason) });
    await tg.raw.session.endSession({
      org,
      sessionId: session.sessionId,
      identity: "user 7",
      requestId: "elsewhere",
    });
    await eventually(() => lost.length > 0, "it was lost");
    assert.deepEqual([lost, session.isRunning], [["ended"], false]);
    await session.end();
  });

  it("makes up for heartbeats that were lost", async () => {
    const org = fresh();
    const failures: unknown[] = [];
    const own = tollgate({ url: proxy.url, budgetMs: 100 });
    let total = 1;
    const start = await own.session(org, {
      identity: "u",
      budgetMs: PATIENT_MS,
      totalSeconds: () => total,
      onStop: () => {},
      onHeartbeatFailed: (error) => failures.push(error),
    });
    assert.ok(start.allowed);
    proxy.fault = "refuse";
    await eventually(() => failures.length > 0, "a heartbeat has failed");
    proxy.fault = "pass";
    total = 4;
    const stored = async () =>
      (await tg.raw.session.getSession({ org, sessionId: start.session.sessionId })).session!;
    await eventually(
      async () => (await stored()).bookedMs === 4000n,
      "the next one made up for it",
    );
    await start.session.end();
  });

  it("starts without a node, and asks until there is a decision", async () => {
    for (const isDenied of [false, true]) {
      const org = fresh();
      if (isDenied) {
        await running(org);
        await running(org);
      }
      const stops: SessionStop[] = [];
      const own = tollgate({ url: proxy.url, budgetMs: 100 });
      proxy.fault = "refuse";
      const start = await own.session(org, {
        identity: "u",
        onStop: (stop) => stops.push(stop),
      });
      assert.ok(start.allowed && start.admission.by === "failOpen" && !start.session.isRunning);
      proxy.fault = "pass";
      // Not the timer: it would wait for as long as a node asks for by default.
      await start.session.heartbeat({ budgetMs: PATIENT_MS });
      assert.deepEqual(
        [start.session.isRunning, stops.map(({ why }) => why)],
        isDenied ? [false, ["denied"]] : [true, []],
      );
      await start.session.end();
    }
  });

  it("keeps no process alive", async () => {
    const script = `
      import { tollgate } from "tollgate";
      const tg = tollgate({ url: "${node.url}" });
      const start = await tg.session("${fresh()}", { identity: "u", onStop() {} });
      console.log(start.allowed);`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "--eval", script],
      { cwd: PACKAGE, timeout: 20_000 },
    );
    assert.equal(stdout.trim(), "true");
  });
});
