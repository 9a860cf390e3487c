/** The client: everything that a plane asks of tollgate. */
import type { AcquireOptions } from "./admission.js";
import { acquire, askedOf } from "./admission.js";
import type { CallBudget, Raw, Send } from "./call.js";
import { Caller } from "./call.js";
import type { Decision } from "./decision.js";
import type { Ticket } from "./execution.js";
import { Mode } from "./gen/tollgate/v1/gate_pb.js";
import type { Guarded, GuardOptions, ResumeOptions, Run } from "./guard.js";
import { count, guard, resume } from "./guard.js";
import type { Hold } from "./hold.js";
import type { TollgateOptions } from "./options.js";
import type { BatchItem, SessionStatusResult, Status, Where } from "./reads.js";
import { batchStatus, Budgets, status } from "./reads.js";
import type { AttachOptions, Session, SessionOptions, SessionStart } from "./session.js";
import { attach, start } from "./session.js";
import type { Settlement } from "./settlement.js";
import { send, Settlements } from "./settlement.js";
import type { Stats } from "./stats.js";
import type { Amounts } from "./amounts.js";

/** What `reserve` takes: `amounts` is what is held. */
export interface ReserveOptions extends Omit<GuardOptions, "reserve"> {
  readonly amounts: Amounts;
}

/**
 * Makes a client. It connects with the first call. Errors: RangeError for an option that is not
 * allowed.
 */
export function tollgate(options: TollgateOptions): Tollgate {
  return new Tollgate(options);
}

/**
 * A client of tollgate. One for a process, or for a Worker's isolate: it keeps the breaker and the
 * counters.
 */
export class Tollgate {
  /** Limits on spend: read, set, clear. */
  readonly budget: Budgets;
  readonly #caller: Caller;
  readonly #settlements: Settlements;

  /** As `tollgate`. */
  constructor(options: TollgateOptions) {
    this.#caller = new Caller(options);
    this.#settlements = new Settlements(this.#caller);
    this.budget = new Budgets(this.#caller);
  }

  /** What was counted since the client was made. */
  get stats(): Stats {
    return { ...this.#caller.stats, breaker: this.#caller.breaker.state };
  }

  /** The generated clients of every service. */
  get raw(): Raw {
    return this.#caller.raw;
  }

  /**
   * Asks whether `org` may execute, runs it, and settles. A denial does not run: it is `{
   * allowed: false, denial }`. An error of `run` is thrown as it is, after the settlement.
   * Without a decision `onUnavailable` says what to do. Errors: `UnavailableError` (no decision,
   * and the policy is `closed`), `RefusedError` (the call is wrong).
   */
  guard<T>(org: string, run: Run<T>): Promise<Guarded<T>>;
  guard<T>(org: string, options: GuardOptions, run: Run<T>): Promise<Guarded<T>>;
  guard<T>(org: string, ...rest: [Run<T>] | [GuardOptions, Run<T>]): Promise<Guarded<T>> {
    const [options, run] = rest.length === 1 ? [{}, rest[0]] : rest;
    return guard(this.#caller, this.#settlements, org, options, run);
  }

  /**
   * Continues an execution that was admitted before and has paused. It is counted and never
   * denied; it runs also where tollgate is away. `ticket` is what `Execution.pause` gave.
   */
  resume<T>(ticket: Ticket, run: Run<T>): Promise<T>;
  resume<T>(ticket: Ticket, options: ResumeOptions, run: Run<T>): Promise<T>;
  resume<T>(ticket: Ticket, ...rest: [Run<T>] | [ResumeOptions, Run<T>]): Promise<T> {
    const [options, run] = rest.length === 1 ? [{}, rest[0]] : rest;
    return resume(this.#caller, this.#settlements, ticket, options, run);
  }

  /**
   * Counts a continuation by the name of its execution alone, where there is no ticket; false
   * where it could not be counted. Never fails.
   */
  countResume(org: string, executionId: string, options: ResumeOptions = {}): Promise<boolean> {
    const counting = count(this.#caller, org, executionId, options);
    void this.#settlements.underWay(counting, options.waitUntil);
    return counting;
  }

  /**
   * Holds amounts while `run` uses them. What it does not settle itself is committed with what it
   * reported (`execution.used`), or with all that was held; where it throws and has reported
   * nothing, it is released. As `guard`.
   */
  reserve<T>(
    org: string,
    options: ReserveOptions,
    run: (hold: Hold | undefined, execution: Parameters<Run<T>>[0]) => T | Promise<T>,
  ): Promise<Guarded<T>> {
    const { amounts, ...rest } = options;
    return this.guard(org, { ...rest, reserve: amounts }, (execution) =>
      run(execution.hold, execution),
    );
  }

  /**
   * Asks and charges, and leaves what follows to the caller. Errors: `UnavailableError`,
   * `RefusedError`.
   */
  acquire(org: string, options: AcquireOptions = {}): Promise<Decision> {
    return acquire(this.#caller, this.#settlements, askedOf(org, options), options);
  }

  /**
   * What `acquire` would decide now. Consumes, counts and remembers nothing. Errors as `acquire`.
   */
  check(
    org: string,
    options: Omit<AcquireOptions, "requestId" | "shadow"> = {},
  ): Promise<Decision> {
    const asked = askedOf(org, options);
    return acquire(this.#caller, this.#settlements, asked, options, Mode.CHECK_ONLY);
  }

  /**
   * Sends a settlement that could not be sent before (`onSettlementFailed`). Errors:
   * `UnavailableError`, `RefusedError`.
   */
  settle(settlement: Settlement, budget: CallBudget = {}): Promise<void> {
    return send(this.#caller, settlement, budget);
  }

  /**
   * Starts a session and keeps it alive: heartbeats by a timer that does not keep a process
   * alive. Without a decision it does not start, unless its own `onUnavailable` says so.
   */
  session(org: string, options: SessionOptions): Promise<SessionStart> {
    return start(this.#caller, this.#settlements, org, options);
  }

  /**
   * Takes over a session that runs, such as after a restart of the process that started it, and
   * keeps it alive. Nothing is sent: whether tollgate knows it is what its next heartbeat says.
   */
  attach(org: string, options: AttachOptions): Session {
    return attach(this.#caller, org, options);
  }

  /**
   * Every limit of an org, without consuming anything. Errors: `UnavailableError`,
   * `RefusedError`.
   */
  status(org: string, where: Where = {}): Promise<Status> {
    return status(this.#caller, org, where);
  }

  /**
   * Whether sessions could start now, for up to 1000 orgs, in their order. Errors:
   * `UnavailableError`, `RefusedError`.
   */
  batchStatus(
    items: readonly BatchItem[],
    budget: CallBudget = {},
  ): Promise<SessionStatusResult[]> {
    return batchStatus(this.#caller, items, budget);
  }

  /**
   * Sends a call of `raw` until it is answered, in one budget of time: `tg.call((options) =>
   * tg.raw.pool.pick({ org, pool, requestId }, options))`. The message has to have its request id
   * before. Errors: `UnavailableError`, `RefusedError`.
   */
  call<T>(send: Send<T>, budget: CallBudget = {}): Promise<T> {
    return this.#caller.retried(send, budget);
  }

  /** Waits for what is under way, settlements and counts of continuations: before a process exits. */
  flush(): Promise<void> {
    return this.#settlements.flush();
  }
}
