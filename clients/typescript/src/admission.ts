/** From a question to leave: a decision, or what the policy says where there is none. */
import type { Amounts } from "./amounts.js";
import { toWire } from "./amounts.js";
import type { CallBudget, Caller } from "./call.js";
import type { Allowed, Decision, Denial } from "./decision.js";
import { decisionOf } from "./decision.js";
import { RefusedError, UnavailableError } from "./errors.js";
import { Mode, Operation } from "./gen/tollgate/v1/gate_pb.js";
import type { ChoosePolicy, NoDecision, Policy } from "./options.js";
import { policy, ttlOf } from "./options.js";
import { requestId } from "./request_id.js";
import type { Settlements } from "./settlement.js";
import { quietly } from "./settlement.js";

/** What is asked for. */
export interface AcquireOptions extends CallBudget {
  /**
   * A part of the org with limits of its own (`workspace/ws_42`), or several, at most 8: each is
   * judged and charged.
   */
  readonly scope?: string | readonly string[] | undefined;
  /** What is charged at admission. Default 1 `executions`. */
  readonly cost?: Amounts | undefined;
  /** What is held until the execution has ended: what it will use at most. */
  readonly reserve?: Amounts | undefined;
  /** Milliseconds after which the hold expires: 1000 to a day. Default 300 000; see `Hold.extend`. */
  readonly ttlMs?: number | undefined;
  /** The execution may pause, and its continuations (`resume`) are counted for it. */
  readonly pausable?: boolean | undefined;
  /**
   * A pool of upstream accounts that the execution will use: where all are exhausted it is
   * denied.
   */
  readonly pool?: string | undefined;
  /** Evaluates and charges, and always allows: `code` says what would have been. */
  readonly shadow?: boolean | undefined;
  /**
   * Names the work, so that what is asked for twice (a message that is delivered again) is charged
   * and completed once: 1 to 128 printable ASCII characters, unique in the org. Remembered 10
   * minutes, with `reserve` 24 hours. An execution of it that throws may be tried again under the
   * same id: it keeps its hold, and only what it has used is recorded. A success settles under this
   * id; see `Execution.failed`. Default: a new UUID of version 7.
   */
  readonly requestId?: string | undefined;
}

/** What the policy of one call may be. */
export interface PolicyOptions {
  /** Instead of that of the client. */
  readonly onUnavailable?: Policy | ChoosePolicy | undefined;
}

/** Why an execution runs. */
export type Admission =
  | { readonly by: "tollgate"; readonly decision: Allowed }
  /** Without a decision, by `onUnavailable`. */
  | { readonly by: "failOpen"; readonly event: NoDecision }
  /** As the continuation of one that was admitted. */
  | { readonly by: "resume" };

/** What was asked about, for hooks and settlements. */
export interface Asked {
  readonly call: NoDecision["call"];
  readonly org: string;
  readonly scope: readonly string[];
  readonly requestId: string;
}

/** The scopes as a list. */
export function scopesOf(scope: string | readonly string[] | undefined): readonly string[] {
  if (scope === undefined || scope === "") return [];
  return typeof scope === "string" ? [scope] : [...scope];
}

/**
 * Without a compiler somebody may give what is no text. It could not be written, which would look
 * like an outage. Errors: TypeError.
 */
export function texts(fields: Readonly<Record<string, string | readonly string[]>>): void {
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (typeof each !== "string")
        throw new TypeError(`${name}: ${String(each)} is not allowed: a string`);
    }
  }
}

export function askedOf(org: string, options: AcquireOptions): Asked {
  return {
    call: "acquire",
    org,
    scope: scopesOf(options.scope),
    requestId: options.requestId ?? requestId(),
  };
}

/**
 * Asks, and says what tollgate says. A hold that is granted when nobody waits any more is given
 * back, unless the id is the caller's. Errors: `UnavailableError`, `RefusedError`.
 */
export async function acquire(
  caller: Caller,
  settlements: Settlements,
  asked: Asked,
  options: AcquireOptions,
  mode?: Mode,
): Promise<Decision> {
  const message = {
    org: asked.org,
    scopes: [...asked.scope],
    requestId: asked.requestId,
    operation: options.pausable ? Operation.EXECUTE_WITH_PAUSE : Operation.EXECUTE,
    cost: toWire(options.cost),
    reserve: toWire(options.reserve),
    reservationTtlMs: options.ttlMs === undefined ? 0n : ttlOf(options.ttlMs),
    mode: mode ?? (options.shadow ? Mode.SHADOW : Mode.NORMAL),
    plane: caller.settings.plane,
    pool: options.pool ?? "",
  };
  texts({
    org: message.org,
    requestId: message.requestId,
    plane: message.plane,
    pool: message.pool,
    scope: message.scopes,
  });
  const ask = async (budget: CallBudget): Promise<Decision> =>
    decisionOf(await caller.guarded((call) => caller.raw.gate.acquire(message, call), budget));
  const { signal, budgetMs } = options;
  if (!signal || message.reserve.length === 0 || options.requestId !== undefined)
    return ask({ budgetMs, signal });
  return settlements.whileWaited(
    signal,
    () => ask({ budgetMs }),
    async (decision) => {
      const reservationId = decision.allowed ? decision.hold?.reservationId : undefined;
      if (reservationId === undefined) return;
      const { org } = asked;
      await settlements.settle({ kind: "release", org, requestId: requestId(), reservationId });
    },
  );
}

/** A policy that cannot choose opens nothing. */
async function choice(chosen: Policy | ChoosePolicy, event: NoDecision): Promise<Policy> {
  if (typeof chosen !== "function") return chosen;
  try {
    return await chosen(event);
  } catch {
    return "closed";
  }
}

/** Asks, counts, and where there is no decision does what the policy says. */
export async function admit(
  caller: Caller,
  asked: Asked,
  given: Policy | ChoosePolicy | undefined,
  ask: () => Promise<Decision>,
): Promise<Exclude<Admission, { by: "resume" }> | Denial> {
  const began = performance.now();
  const { stats, settings } = caller;
  const chosen = policy(given ?? settings.onUnavailable);
  let decision: Decision;
  try {
    decision = await ask();
  } catch (error) {
    if (error instanceof RefusedError) stats.refused += 1;
    if (!(error instanceof UnavailableError)) throw error;
    const event = { ...asked, error, elapsedMs: performance.now() - began };
    if ((await choice(chosen, event)) !== "open") {
      stats.failClosed += 1;
      throw error;
    }
    stats.failOpen += 1;
    quietly(() => settings.onFailOpen?.(event));
    return { by: "failOpen", event };
  }
  if (!decision.allowed) {
    stats.denied += 1;
    return decision;
  }
  stats.allowed += 1;
  return { by: "tollgate", decision };
}
