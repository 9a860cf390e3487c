/** What a client has counted since it was made. */
import type { BreakerState } from "./breaker.js";

export interface Stats {
  /** Executions and sessions that tollgate admitted, and denied. */
  readonly allowed: number;
  readonly denied: number;
  /** Those that ran without a decision. Worth an alert. */
  readonly failOpen: number;
  /** Those that did not run because there was no decision. */
  readonly failClosed: number;
  /** Calls that were wrong: `RefusedError`. */
  readonly refused: number;
  /** Continuations, and those of them that could not be counted. */
  readonly resumed: number;
  readonly resumedUncounted: number;
  /** Attempts after the first one of a call. */
  readonly retries: number;
  /** Settlements that tollgate has, and that it does not have: `onSettlementFailed`. */
  readonly settled: number;
  readonly settlementsFailed: number;
  readonly breaker: BreakerState;
}

/** The counters behind it. */
export class Counters implements Omit<Stats, "breaker"> {
  allowed = 0;
  denied = 0;
  failOpen = 0;
  failClosed = 0;
  refused = 0;
  resumed = 0;
  resumedUncounted = 0;
  retries = 0;
  settled = 0;
  settlementsFailed = 0;
}
