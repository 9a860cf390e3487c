// One story of an org, by whatever makes clients of its services; what came of it. A bigint has an `n` behind it.
import { ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";

import { BadRequestSchema, ErrorInfoSchema } from "./generated/google/rpc/error_details_pb.js";
import { AdminService } from "./generated/tollgate/admin/v1/admin_pb.js";
import { BudgetService } from "./generated/tollgate/v1/budget_pb.js";
import { DecisionCode, GateService } from "./generated/tollgate/v1/gate_pb.js";

const patient = { timeoutMs: 5000 };

/** What a call is refused with; null where it is answered. */
async function refusal(call) {
  try {
    await call();
    return null;
  } catch (caught) {
    const error = ConnectError.from(caught);
    const [info] = error.findDetails(ErrorInfoSchema);
    const fields = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations.map((each) => each.field));
    return { code: codeToString(error.code), reason: info?.reason, domain: info?.domain, fields };
  }
}

const decision = ({ allowed, code, replayed, httpStatusHint, message }) => (
  { allowed, code: DecisionCode[code], replayed, httpStatusHint, message: message.split(":")[0] });

const limit = ({ limits }, named) => {
  const { amount, used, remaining, resetsAtMs, limiting } = limits.find(({ name }) => name === named);
  return { amount, used, remaining, resetsAtMs, limiting };
};

/** Tells it; as JSON. */
export async function tell(client, org) {
  const [gate, budget, admin] = [client(GateService), client(BudgetService), client(AdminService)];

  async function watched(request, options, last) {
    const seen = [];
    const end = await refusal(async () => {
      for await (const { what } of admin.watchEvents(request, options)) {
        if (what.case === "event") seen.push([what.value.org === org, what.value.number, what.value.kind]);
        if (last && what.value.kind === last) options.cancel.abort();
      }
    });
    return { seen, end: end?.code };
  }

  async function streamed() {
    const tags = [];
    const items = async function* () {
      for (const tag of [7n, 8n]) yield { tag, acquire: { org: `${org}-stream` } };
    };
    const refused = await refusal(async () => {
      for await (const { tag } of gate.acquireStream(items(), patient)) tags.push(tag);
    });
    return refused?.code ?? tags.sort();
  }

  const story = {};
  const first = await gate.acquire({ org, requestId: "first" });
  story.admitted = decision(first);
  const again = await gate.acquire({ org, requestId: "first" });
  story.again = { ...decision(again), same: again.decisionId !== "" && again.decisionId === first.decisionId };
  story.reused = await refusal(() => gate.acquire({ org, requestId: "first", scope: "workspace/a" }));

  const status = await gate.getStatus({ org }, patient);
  story.rate = limit(status, "rate");
  story.budget = limit(status, "budget/monthly");

  const changed = await budget.updateBudget({ org, requestId: "b", periods: { daily: { limit: 5_000_000n } } });
  const read = (await budget.getBudget({ org })).budget;
  const { daily, weekly } = read.periods;
  story.set = { version: changed.budget.version, daily: daily.limit, weekly: weekly.limit ?? null };
  story.stale = await refusal(() => budget.updateBudget({ org, requestId: "c", expectedVersion: 0n }));

  story.second = decision(await gate.acquire({ org }, patient));
  const denied = await gate.acquire({ org }, patient);
  story.denied = { ...decision(denied), rate: limit(denied, "rate"), waits: denied.retryAfterMs > 0n };
  const batch = await gate.acquireBatch({ items: [{ org }, { org: "a b" }] });
  story.batch = batch.results.map(({ result }) => [result.case, result.value.allowed ?? result.value.reason]);

  story.nameless = await refusal(() => gate.acquire({ org: "" }));
  story.misnamed = await refusal(() => gate.getStatus({ org: "a b" }));
  story.unknown = await refusal(() => admin.getOrg({ org: `${org}-unknown` }));

  /** An answer may be in time, and a stream may end with the deadline by itself. */
  const lateOrNot = (code) => [undefined, "deadline_exceeded"].includes(code) || code;
  story.hasty = lateOrNot((await refusal(() => gate.getStatus({ org }, { timeoutMs: 1 })))?.code);

  const cancel = new AbortController();
  const watch = { timeoutMs: 10_000, signal: cancel.signal, cancel };
  story.events = await watched({ org, afterNumber: 0n }, watch, "denials_began");
  story.late = lateOrNot((await watched({ org: `${org}-unknown` }, { timeoutMs: 300 })).end);
  story.misasked = await refusal(async () => {
    for await (const _ of admin.watchEvents({ org: "a b" }, patient));
  });
  story.stream = await streamed();

  return JSON.stringify(story, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
}
