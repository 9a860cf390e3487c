/** R-SES-1, R-SES-3: a session as its host runs it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { SessionState } from "tollgate/messages";
import {
  tollgate,
  UnavailableError,
  type SessionOptions,
  type SessionStop,
  type Tollgate,
} from "tollgate";
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

  /** A client that says when it sends a call of this rpc. */
  function counting(url: string, rpc: string, sends: () => void): Tollgate {
    return tollgate({
      url,
      budgetMs: PATIENT_MS,
      fetch: (input, init) => {
        if (String(input).endsWith(`/${rpc}`)) sends();
        return fetch(input, init);
      },
    });
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

  it("is lost once where it was ended elsewhere, and is not stopped", async () => {
    const org = fresh();
    const lost: string[] = [];
    const session = await running(org, { onLost: ({ reason }) => lost.push(reason) });
    const { sessionId } = session;
    const end = { org, sessionId, identity: "user 7", requestId: "elsewhere" };
    await tg.raw.session.endSession(end);
    await eventually(() => lost.length > 0, "it was lost");
    assert.deepEqual([lost, session.isRunning], [["ended"], false]);
    await session.end();
  });

  it("is lost once where the node knows no such session, also by a heartbeat of the caller's", async () => {
    const lost: string[] = [];
    const session = tg.attach(fresh(), {
      sessionId: "never-started",
      identity: "user 7",
      incarnation: "boot-1",
      totalSeconds: () => 1,
      onStop: () => assert.fail("it was stopped"),
      onLost: ({ reason }) => lost.push(reason),
    });
    await assert.rejects(session.heartbeat(), { reason: "SESSION_UNKNOWN" });
    assert.equal(await session.heartbeat(), undefined);
    assert.deepEqual([lost, session.isRunning], [["unknown"], false]);
    await session.end();
  });

  it("is taken over by another process, which goes on with its total", async () => {
    const org = fresh();
    const [identity, incarnation] = ["user 7", "boot-1"];
    const host = { identity, incarnation, onStop: () => assert.fail("it was stopped") };
    const { sessionId } = await running(org, { ...host, totalSeconds: () => 3 });
    const other = tollgate({ url: node.url, budgetMs: PATIENT_MS });
    const session = other.attach(org, { ...host, sessionId, totalSeconds: () => 7 });
    assert.ok(session.isRunning);
    assert.equal((await session.heartbeat())?.usedMs, 7000);
    await session.end();
    const ended = (await tg.raw.session.getSession({ org, sessionId })).session!;
    assert.deepEqual([ended.state, ended.bookedMs], [SessionState.ENDED, 7000n]);
  });

  /** A client of which the node gets the start, and whose answers are lost. */
  async function startLost(org: string, options: Partial<SessionOptions> = {}) {
    proxy.fault = "lose";
    const own = tollgate({ url: proxy.url, budgetMs: 300 });
    const host = { sessionId: "s", identity: "u", onStop: () => {} };
    return own.session(org, { ...host, ...options });
  }

  async function state(org: string): Promise<SessionState | undefined> {
    const call = tg.raw.session.getSession({ org, sessionId: "s" });
    return (await call.catch(() => undefined))?.session?.state;
  }

  it("ends what has started though its answer was lost", async () => {
    const org = fresh();
    const start = await startLost(org, { onUnavailable: "open" });
    assert.ok(start.allowed && start.admission.by === "failOpen");
    assert.equal(await state(org), SessionState.RUNNING);
    await assert.rejects(start.session.end(), UnavailableError);
    proxy.fault = "pass";
    await start.session.end({ budgetMs: PATIENT_MS });
    assert.equal(await state(org), SessionState.ENDED);
  });

  it("ends what starts when nobody waits any more", async () => {
    const org = fresh();
    const ends = new AbortController();
    const starting = startLost(org, { signal: ends.signal, budgetMs: PATIENT_MS });
    await eventually(async () => (await state(org)) === SessionState.RUNNING, "it runs");
    ends.abort(new Error("gone"));
    await assert.rejects(starting, /gone/);
    proxy.fault = "pass";
    await eventually(async () => (await state(org)) === SessionState.ENDED, "it has ended");
  });

  it("sends its end once, and not before its total is known", async () => {
    const org = fresh();
    let total = Number.NaN;
    let ends = 0;
    const own = counting(node.url, "EndSession", () => (ends += 1));
    const options = { identity: "u", totalSeconds: () => total, onStop: () => {} };
    const start = await own.session(org, options);
    assert.ok(start.allowed);
    await assert.rejects(start.session.end(), /RangeError: totalSeconds: NaN is not allowed/);
    assert.ok(start.session.isRunning);
    total = 4;
    await Promise.all([start.session.end(), start.session.end()]);
    await start.session.end();
    assert.equal(ends, 1);
  });

  it("sends no heartbeat after its end was called, also where that fails", async () => {
    proxy.fault = "pass";
    let beats = 0;
    const own = counting(proxy.url, "Heartbeat", () => (beats += 1));
    const start = await own.session(fresh(), { identity: "u", onStop: () => {} });
    assert.ok(start.allowed);
    proxy.fault = "slow";
    // The proxy counts a call when it takes the fault for it.
    const came = proxy.calls;
    await eventually(() => beats > 0 && proxy.calls > came, "a heartbeat is under way");
    proxy.fault = "refuse";
    await assert.rejects(start.session.end({ budgetMs: 100 }), UnavailableError);
    const before = beats;
    await new Promise((over) => setTimeout(over, 2500));
    assert.deepEqual([beats, start.session.isRunning], [before, false]);
    proxy.fault = "pass";
    await start.session.end();
  });

  it("does not try a heartbeat again after its end was called", async () => {
    proxy.fault = "pass";
    let beats = 0;
    const failures: unknown[] = [];
    const own = counting(proxy.url, "Heartbeat", () => (beats += 1));
    const onHeartbeatFailed = (error: unknown): void => void failures.push(error);
    const asked = { identity: "u", onStop: () => {}, onHeartbeatFailed };
    const start = await own.session(fresh(), asked);
    assert.ok(start.allowed);
    proxy.fault = "refuse";
    await eventually(() => beats > 0, "a heartbeat is refused, and waits to be tried again");
    await assert.rejects(start.session.end({ budgetMs: 100 }), UnavailableError);
    const before = beats;
    await new Promise((over) => setTimeout(over, 2500));
    assert.deepEqual([beats, failures.length], [before, 0]);
    proxy.fault = "pass";
    await start.session.end();
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
        onUnavailable: "open",
        onStop: (stop) => stops.push(stop),
      });
      assert.ok(start.allowed && start.admission.by === "failOpen" && !start.session.isRunning);
      await assert.rejects(own.session(org, { identity: "u", onStop: () => {} }), UnavailableError);
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
