/**
 * What a plane does, once, in whatever runs JavaScript. It needs an org with two executions
 * (`limited(2, …)`), and an address that never answers. The result is plain JSON and the same
 * everywhere: `expected`.
 */
import type { Protocol } from "tollgate";
import {
  Code,
  DecisionCode,
  denialResponse,
  RefusedError,
  requestId,
  tollgate,
  usd,
} from "tollgate";

/** More than a double can tell apart. */
export const LARGE = 2n ** 53n + 1n;

export const PLAN = `spend = { monthly = "${LARGE}u" }\ncompute = { calendar_year = "4h" }\nmax_sessions = 1\n`;

export async function story(
  url: string,
  hung: string,
  protocol: Protocol,
  org: string,
): Promise<unknown> {
  const failOpens: string[] = [];
  const tg = tollgate({
    url,
    protocol,
    plane: "story",
    budgetMs: 10_000,
    token: () => "unused",
    onFailOpen: (event) => failOpens.push(event.error.name),
  });
  const id = requestId();
  const first = await tg.guard(org, { requestId: id, reserve: { spend: usd(1) } }, (execution) => {
    execution.used({ spend: usd("0.25") });
    return execution.hold?.reserved;
  });
  const again = await tg.acquire(org, { requestId: id, reserve: { spend: usd(1) } });
  const reused = await failure(() =>
    tg.acquire(org, { requestId: id, reserve: { spend: usd(2) } }),
  );
  const second = await tg.guard(org, () => "ran");
  const denied = await tg.guard(org, () => "never");
  const shown = denied.allowed ? undefined : denialResponse(denied.denial);
  const wrong = await failure(() => tg.guard("a b", () => "never"));
  const status = await tg.status(org);
  const monthly = status.limits.find((limit) => limit.name === "budget/monthly");
  const other = `${org}-s`;
  const start = await tg.session(other, { identity: "user 7", onStop: () => {} });
  const next = await tg.session(other, { identity: "user 8", onStop: () => {} });
  const buttons = await tg.batchStatus([other, "a b"]);
  if (start.allowed) {
    await start.session.heartbeat();
    await start.session.end();
  }
  const budget = await tg.budget.update(org, { daily: usd(25), weekly: null });
  const late = await lateGuard(hung, protocol, org);
  return {
    first: first.allowed && [first.value, first.admission.by],
    again: again.allowed && again.replayed,
    reused,
    second: second.allowed && second.value,
    denied: !denied.allowed && [
      denied.denial.code === DecisionCode.QUOTA_EXCEEDED,
      denied.denial.limiting.map(({ name }) => name),
    ],
    shown: shown && [shown.status, ((await shown.json()) as { error: string }).error],
    wrong,
    monthly: monthly && [String(monthly.amount), String(monthly.used)],
    session: [start.allowed, !next.allowed && next.denial.codeName],
    buttons: buttons.map((each) => (each.ok ? each.status.canStart : each.failure.reason)),
    budget: String(budget.periods.daily?.limit),
    late,
    failOpens,
    stats: tg.stats,
  };
}

/** Runs without a decision, because the node hangs, and does not wait for long. */
async function lateGuard(hung: string, protocol: Protocol, org: string): Promise<unknown> {
  const tg = tollgate({ url: hung, protocol, budgetMs: 200 });
  const ran = await tg.guard(org, () => "ran");
  return (
    ran.allowed &&
    ran.admission.by === "failOpen" && [
      ran.value,
      Code[ran.admission.event.error.code],
      ran.admission.event.elapsedMs < 5000,
    ]
  );
}

async function failure(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return await call();
  } catch (error) {
    return error instanceof RefusedError
      ? [Code[error.code], error.reason, error.fields.map(({ field }) => field)]
      : String(error);
  }
}

/** What the story is answered. */
export const expected = {
  first: [{ spend: "1000000" }, "tollgate"],
  again: true,
  reused: ["AlreadyExists", "REQUEST_ID_REUSED", []],
  second: "ran",
  denied: [true, ["quota/executions/calendar/year"]],
  shown: [402, "QUOTA_EXCEEDED"],
  wrong: ["InvalidArgument", "INVALID_FIELD", ["org"]],
  monthly: [String(LARGE), "250000"],
  session: [true, "SESSION_LIMIT_REACHED"],
  buttons: [false, "INVALID_FIELD"],
  budget: "25000000",
  late: ["ran", "DeadlineExceeded", true],
  failOpens: [],
  stats: {
    allowed: 3,
    denied: 2,
    failOpen: 0,
    failClosed: 0,
    refused: 1,
    resumed: 0,
    resumedUncounted: 0,
    retries: 0,
    settled: 2,
    settlementsFailed: 0,
    breaker: "closed",
  },
};
