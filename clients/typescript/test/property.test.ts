/**
 * Whatever happens between a plane and its node, attempt by attempt: an execution runs or was
 * denied, in its budget; nothing runs of which a denial has arrived; nothing is charged twice;
 * every run without a decision is counted.
 */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import fc from "fast-check";
import { fromBinary } from "@bufbuild/protobuf";
import { tollgate, requestId, type NoDecision } from "tollgate";
import { AcquireResponseSchema } from "tollgate/messages";
import { FAULTS, FaultProxy, type Fault } from "./faults.js";
import { fresh, limited, TollgateNode } from "./node.js";

const LIMIT = 3;
const BUDGET_MS = 240;
/**
 * A machine that stands still for a while may take more; no answer at all would be more than that.
 */
const PATIENCE_MS = 10_000;
const SECONDS = 8;

let node: TollgateNode;
let proxy: FaultProxy;

before(async () => {
  node = await TollgateNode.start(limited(LIMIT));
  proxy = await FaultProxy.start(() => node.url);
});
after(async () => {
  await proxy.close();
  await node.close();
});

/** What happened to one execution. */
interface History {
  readonly requestId: string;
  readonly failOpens: NoDecision[];
  /** Of each answer that arrived in time: whether it allowed. */
  readonly arrived: boolean[];
  isRun: boolean;
  outcome: "tollgate" | "failOpen" | "denied";
}

/**
 * One execution, each attempt of which meets the next fault; after the last one the node answers.
 */
async function execute(org: string, faults: readonly Fault[]): Promise<History> {
  const history: History = {
    requestId: requestId(),
    failOpens: [],
    arrived: [],
    isRun: false,
    outcome: "denied",
  };
  let attempts = 0;
  const tg = tollgate({
    url: proxy.url,
    budgetMs: BUDGET_MS,
    attemptMs: BUDGET_MS / 3,
    onFailOpen: (event) => history.failOpens.push(event),
    fetch: async (input, init) => {
      const headers = new Headers(init?.headers);
      if (!String(input).endsWith("/Acquire")) return fetch(input, init);
      headers.set("x-fault", faults[attempts++] ?? "pass");
      const response = await fetch(input, { ...init, headers });
      const body = await response.arrayBuffer();
      if (response.status === 200 && !init?.signal?.aborted) {
        try {
          history.arrived.push(fromBinary(AcquireResponseSchema, new Uint8Array(body)).allowed);
        } catch {
          // It was no answer of the node's.
        }
      }
      return new Response(body, { status: response.status, headers: response.headers });
    },
  });
  const began = performance.now();
  const ran = await tg.guard(org, { requestId: history.requestId }, () => {
    history.isRun = true;
  });
  assert.ok(performance.now() - began < BUDGET_MS + PATIENCE_MS, "in its budget");
  history.outcome = ran.allowed ? (ran.admission.by as "tollgate" | "failOpen") : "denied";
  const { failOpen, allowed, denied } = tg.stats;
  assert.equal(failOpen, history.failOpens.length);
  assert.equal(failOpen + allowed + denied, 1, "it has one outcome");
  return history;
}

function judge(histories: readonly History[], charged: bigint): void {
  for (const { outcome, isRun, arrived, failOpens } of histories) {
    const said = JSON.stringify({ outcome, isRun, arrived });
    assert.equal(isRun, outcome !== "denied", `it runs unless it is denied: ${said}`);
    assert.equal(failOpens.length, outcome === "failOpen" ? 1 : 0, `counted: ${said}`);
    if (outcome === "tollgate")
      assert.deepEqual(arrived, [true], `by a decision that arrived: ${said}`);
    if (outcome === "denied")
      assert.deepEqual(arrived, [false], `by a decision that arrived: ${said}`);
    if (outcome === "failOpen") assert.deepEqual(arrived, [], `only without a decision: ${said}`);
  }
  const admitted = histories.filter(({ outcome }) => outcome === "tollgate").length;
  assert.ok(admitted <= LIMIT && charged <= LIMIT, "no more than the limit");
  assert.ok(charged >= admitted && charged <= histories.length, "each is charged once at most");
}

it("holds whatever happens in between", async () => {
  const fault = fc.constantFrom<Fault>("pass", ...FAULTS);
  const executions = fc.array(fc.array(fault, { maxLength: 4 }), { minLength: 1, maxLength: 8 });
  const outcomes = new Set<string>();
  const reads = tollgate({ url: node.url });
  await fc.assert(
    fc.asyncProperty(executions, fc.boolean(), async (faults, isAtOnce) => {
      const org = fresh();
      const histories: History[] = [];
      if (isAtOnce)
        histories.push(...(await Promise.all(faults.map((each) => execute(org, each)))));
      else for (const each of faults) histories.push(await execute(org, each));
      const status = await reads.status(org);
      const charged =
        status.limits.find(({ name }) => name === "quota/executions/calendar/year")?.used ?? 0n;
      judge(histories, charged);
      for (const { outcome } of histories) outcomes.add(outcome);
    }),
    { numRuns: 60, interruptAfterTimeLimit: SECONDS * 1000, endOnFailure: true },
  );
  assert.deepEqual(
    [...outcomes].sort(),
    ["denied", "failOpen", "tollgate"],
    "each outcome was seen",
  );
});
