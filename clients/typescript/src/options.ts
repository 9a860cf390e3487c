/** The options of a client, and their defaults. */
import type { Transport } from "@connectrpc/connect";
import type { Failure, TollgateError } from "./errors.js";
import { isUnavailable } from "./errors.js";
import type { FailedSettlement } from "./settlement.js";

/**
 * How calls are written: `connect` is binary over HTTP/1.1 or 2, `connect-json` can be read in a
 * proxy's log, `grpc-web` is for what is in between and knows nothing else. All of them use
 * `fetch`.
 */
export type Protocol = "connect" | "connect-json" | "grpc-web";

/** What to do without a decision. */
export type Policy = "open" | "closed";

/** Why there is no decision, for the policy and for hooks. */
export interface NoDecision {
  readonly call: "acquire" | "startSession";
  readonly org: string;
  readonly scope: readonly string[];
  /**
   * The id under which every attempt was sent. tollgate may have charged it: an answer can be
   * lost.
   */
  readonly requestId: string;
  /** `reason` is `CIRCUIT_OPEN` where tollgate was not asked, because it has been away. */
  readonly error: TollgateError;
  /** Milliseconds that the caller waited. */
  readonly elapsedMs: number;
}

/** A continuation that tollgate did not count. */
export interface UncountedResume {
  readonly org: string;
  readonly executionId: string;
  readonly error: unknown;
}

/**
 * Chooses by the call; may take its time, which is added to the caller's wait. An error in it is
 * `closed`.
 */
export type ChoosePolicy = (context: NoDecision) => Policy | Promise<Policy>;

/** Where tollgate is, and who calls. */
export interface Addressed {
  /**
   * The origin of the gRPC port (7070), which has room for many connections, or of the HTTP port
   * (7071). With several, a call that gets no answer from one is sent to the next.
   */
  readonly url: string | readonly string[];
  /**
   * The bearer token, or a function that is asked before every attempt and therefore caches: so a
   * rotated token is used at once. With a function, a call that is refused as UNAUTHENTICATED is
   * sent once more.
   */
  readonly token?: (string | (() => string | Promise<string>)) | undefined;
  /** Default `connect`. */
  readonly protocol?: Protocol | undefined;
  /** Another `fetch`, such as that of a service binding or of a test. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  readonly transport?: undefined;
}

/** Another transport for all calls, such as gRPC of `@connectrpc/connect-node`. */
export interface Transported {
  readonly transport: Transport;
}

/** What a client does, wherever tollgate is. */
export interface ClientOptions {
  /** Label of this process for logs and usage by plane: at most 64 printable ASCII characters. */
  readonly plane?: string | undefined;
  /**
   * Milliseconds for a decision, over all attempts. Default 2000, at least 10. A node that asks
   * its billing provider keeps to it.
   */
  readonly budgetMs?: number | undefined;
  /**
   * Milliseconds for one attempt, so that a node that hangs leaves time for another one. Default
   * half of the budget.
   */
  readonly attemptMs?: number | undefined;
  /**
   * Milliseconds for the settlement after an execution, over all attempts: so long `guard` may last
   * after `run` has ended. Default 10 000. What ran without a decision has one attempt of
   * `budgetMs`.
   */
  readonly settleBudgetMs?: number | undefined;
  /**
   * What to do where tollgate makes no decision in the budget. Default `open`: the execution
   * runs, is counted in `stats.failOpen`, and `onFailOpen` is called. A denial is a decision, and
   * never runs.
   */
  readonly onUnavailable?: Policy | ChoosePolicy | undefined;
  /**
   * Which errors mean that tollgate could not decide. Default `isUnavailable`: all but mistakes
   * of the caller (INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, …), which are thrown as
   * `RefusedError`.
   */
  readonly isUnavailable?: ((failure: Failure) => boolean) | undefined;
  /** Called for every execution that runs without a decision. An error in it is ignored. */
  readonly onFailOpen?: ((event: NoDecision) => void) | undefined;
  /**
   * Called for every settlement that did not reach tollgate: keep `settlement` and send it later
   * with `settle`.
   */
  readonly onSettlementFailed?: ((event: FailedSettlement) => void) | undefined;
  /** Called for every continuation that could not be counted; it runs all the same. */
  readonly onResumeUncounted?: ((event: UncountedResume) => void) | undefined;
  /**
   * Takes settlements over, so that `guard` returns as soon as the execution has ended: `(settled)
   * => ctx.waitUntil(settled)` in a Worker, or `() => {}` in a process that lives on and calls
   * `flush` before it exits. Absent, or where it throws: `guard` waits for them.
   */
  readonly waitUntil?: ((settled: Promise<unknown>) => void) | undefined;
  /** When to stop asking. See `BreakerOptions`. */
  readonly breaker?: BreakerOptions | undefined;
}

/** What `tollgate` takes. */
export type TollgateOptions = ClientOptions & (Addressed | Transported);

/**
 * After `failures` budgets in a row were used up without an answer, calls are not sent for `minMs`;
 * then one call is sent as a probe, and each probe that fails doubles the pause up to `maxMs`. An
 * answer of any kind ends it.
 */
export interface BreakerOptions {
  /** Default 3; 0 switches it off. */
  readonly failures?: number | undefined;
  /** Default 1000. */
  readonly minMs?: number | undefined;
  /** Default 15 000. */
  readonly maxMs?: number | undefined;
}

/** The same with defaults. */
export type BreakerSettings = { readonly [Name in keyof BreakerOptions]-?: number };

/** The options with defaults. */
export interface Settings extends ClientOptions {
  readonly plane: string;
  readonly budgetMs: number;
  readonly settleBudgetMs: number;
  readonly onUnavailable: Policy | ChoosePolicy;
  readonly isUnavailable: (failure: Failure) => boolean;
  readonly breaker: BreakerSettings;
}

/** The shortest budget in which a call can be answered. */
const LEAST_BUDGET_MS = 10;
/** The longest time that is no mistake. */
const HOUR_MS = 3_600_000;
/** The longest hold that any node gives. */
const DAY_MS = 86_400_000;

/**
 * Checks what a compiler cannot, and fills in the defaults. Errors: RangeError with the name, the
 * value and what is allowed.
 */
export function settingsOf(options: TollgateOptions): Settings {
  const { budgetMs = 2000, settleBudgetMs = 10_000, breaker = {} } = options;
  const { failures = 3, minMs = 1000, maxMs = 15_000 } = breaker;
  inRange("budgetMs", budgetMs, LEAST_BUDGET_MS);
  inRange("attemptMs", options.attemptMs ?? LEAST_BUDGET_MS, LEAST_BUDGET_MS);
  inRange("settleBudgetMs", settleBudgetMs, LEAST_BUDGET_MS);
  inRange("breaker.failures", failures, 0, Number.MAX_SAFE_INTEGER);
  inRange("breaker.minMs", minMs, 1);
  inRange("breaker.maxMs", maxMs, minMs);
  return {
    ...options,
    plane: options.plane ?? "",
    budgetMs,
    settleBudgetMs,
    onUnavailable: policy(options.onUnavailable),
    isUnavailable: options.isUnavailable ?? isUnavailable,
    breaker: { failures, minMs, maxMs },
  };
}

/** A policy that was mistyped must not read as one that was meant. */
export function policy(given: Policy | ChoosePolicy | undefined): Policy | ChoosePolicy {
  if (given === undefined || given === "open" || given === "closed" || typeof given === "function")
    return given ?? "open";
  throw new RangeError(
    `onUnavailable: ${String(given)} is not allowed: "open", "closed" or a function`,
  );
}

/** A time in milliseconds. A timer that overflows would end at once. */
export function inRange(name: string, value: number, least: number, most = HOUR_MS): number {
  if (!Number.isFinite(value) || value < least || value > most) {
    throw new RangeError(`${name}: ${value} is not allowed: a number from ${least} to ${most}`);
  }
  return value;
}

/** How long a hold lasts, as the messages have it. */
export function ttlOf(ttlMs: number): bigint {
  return BigInt(inRange("ttlMs", ttlMs, 1000, DAY_MS));
}
