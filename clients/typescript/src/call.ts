/**
 * One call until it is answered: the same message, under the same request id, within one budget of
 * time. This is safe because tollgate charges a request id once, whichever attempt arrives.
 */
import type { CallOptions, Client } from "@connectrpc/connect";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import type { DescService } from "@bufbuild/protobuf";
import { Breaker } from "./breaker.js";
import { type Endpoints, endpointsOf } from "./endpoints.js";
import type { Failure } from "./errors.js";
import {
  failureOf,
  isOfTheToken,
  isRetryable,
  RefusedError,
  TollgateError,
  UnavailableError,
} from "./errors.js";
import { BudgetService } from "./gen/tollgate/v1/budget_pb.js";
import { GateService } from "./gen/tollgate/v1/gate_pb.js";
import { PoolService } from "./gen/tollgate/v1/pool_pb.js";
import { SessionService } from "./gen/tollgate/v1/session_pb.js";
import type { Settings, TollgateOptions } from "./options.js";
import { inRange, settingsOf } from "./options.js";
import { Counters } from "./stats.js";

/**
 * Between two attempts, doubled each time; tollgate may ask for more. Milliseconds, less up to a
 * half by chance.
 */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;
/** With less than this left, another attempt would only be cut off. */
const LEAST_ATTEMPT_MS = 10;
/** How soon a call that waits notices that the breaker has opened. */
const CUT_WITHIN_MS = 50;

/** The time of one call. */
export interface CallBudget {
  /** Milliseconds over all attempts. */
  readonly budgetMs?: number | undefined;
  /** Ends the call; its `reason` is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Clients of every service, as generated: no retries, no policy. A retry needs the same
 * `requestId`; see `call`.
 */
export interface Raw {
  readonly gate: Client<typeof GateService>;
  readonly budget: Client<typeof BudgetService>;
  readonly session: Client<typeof SessionService>;
  readonly pool: Client<typeof PoolService>;
  /** Any other service: `client(AdminService)` with `AdminService` of `tollgate/admin`. */
  client<S extends DescService>(service: S): Client<S>;
}

/** Sends with the options that it is given: a deadline and a signal. */
export type Send<T> = (options: CallOptions) => Promise<T>;

export class Caller {
  readonly settings: Settings;
  readonly stats = new Counters();
  readonly breaker: Breaker;
  readonly raw: Raw;
  readonly #endpoints: Endpoints;
  readonly #rotates: boolean;

  constructor(options: TollgateOptions) {
    this.settings = settingsOf(options);
    this.breaker = new Breaker(this.settings.breaker);
    const endpoints = endpointsOf(options);
    this.#endpoints = endpoints;
    this.#rotates = !options.transport && typeof options.token === "function";
    this.raw = {
      gate: createClient(GateService, endpoints),
      budget: createClient(BudgetService, endpoints),
      session: createClient(SessionService, endpoints),
      pool: createClient(PoolService, endpoints),
      client: (service) => createClient(service, endpoints),
    };
  }

  /** As `retried`, and not sent while the breaker is open. */
  async guarded<T>(send: Send<T>, budget: CallBudget = {}): Promise<T> {
    const { breaker } = this;
    if (!breaker.admits(performance.now())) throw circuitOpen(breaker.waitMs(performance.now()), 0);
    // A probe is one attempt: whoever sends it waits no longer than needed.
    const isProbe = breaker.state === "half-open";
    try {
      const answer = await this.#attempts(send, budget, {
        isOnce: isProbe,
        openings: breaker.openings,
      });
      breaker.answered();
      return answer;
    } catch (error) {
      if (!(error instanceof TollgateError)) breaker.abandoned();
      // A refusal is an answer, also where the caller takes it for an outage.
      else if (isRetryable(error)) breaker.failed(performance.now());
      else breaker.answered();
      throw error;
    }
  }

  /**
   * Errors: `RefusedError` at once, `UnavailableError` when the budget is used up, and the reason
   * of the signal. What `isOver` is not sent again.
   */
  async retried<T>(
    send: Send<T>,
    budget: CallBudget = {},
    isOver: () => boolean = () => false,
  ): Promise<T> {
    return this.#attempts(send, budget, { isOnce: false, openings: undefined, isOver });
  }

  /** As `retried`, in one attempt that may take the whole budget. */
  async once<T>(send: Send<T>, budgetMs: number): Promise<T> {
    const budget = { budgetMs, attemptMs: budgetMs };
    return this.#attempts(send, budget, { isOnce: true, openings: undefined });
  }

  async #attempts<T>(
    send: Send<T>,
    budget: CallBudget & { readonly attemptMs?: number },
    how: How,
  ): Promise<T> {
    const { signal } = budget;
    const isCut = (): boolean =>
      how.openings !== undefined && how.openings !== this.breaker.openings;
    const budgetMs = inRange(
      "budgetMs",
      budget.budgetMs ?? this.settings.budgetMs,
      LEAST_ATTEMPT_MS,
    );
    const attemptMs = Math.min(
      budget.attemptMs ?? this.settings.attemptMs ?? budgetMs / 2,
      budgetMs,
    );
    const until = performance.now() + budgetMs;
    const pauses = new Pauses(budgetMs);
    let isRefreshed = false;
    for (let attempts = 1; ; attempts++) {
      signal?.throwIfAborted();
      const left = until - performance.now();
      const outcome = await attempt(send, Math.max(1, Math.min(attemptMs, left)), signal, isCut);
      if ("answer" in outcome) return outcome.answer;
      const { failure, error } = outcome;
      signal?.throwIfAborted();
      if (isCut()) throw circuitOpen(this.breaker.waitMs(performance.now()), attempts);
      const isStale: boolean = isOfTheToken(failure) && this.#rotates && !isRefreshed;
      if (!isStale && !isRetryable(failure)) throw this.#errorOf(failure, attempts, error);
      isRefreshed ||= isStale;
      const most = until - performance.now() - LEAST_ATTEMPT_MS;
      const wait = isStale ? 0 : pauses.next(failure, most, this.#endpoints.hasAnother());
      if (wait === undefined || (how.isOnce && !isStale)) {
        throw new UnavailableError(failure.message, failure, attempts, error);
      }
      await sleep(wait, signal);
      if (how.isOver?.()) throw this.#errorOf(failure, attempts, error);
      this.stats.retries += 1;
    }
  }

  #errorOf(failure: Failure & { message: string }, attempts: number, cause: unknown): Error {
    const Kind = this.settings.isUnavailable(failure) ? UnavailableError : RefusedError;
    return new Kind(failure.message, failure, attempts, cause);
  }
}

/** How the attempts of a call are bounded besides its budget. */
interface How {
  readonly isOnce: boolean;
  /** Of the breaker when the call began; undefined where it is not asked. */
  readonly openings: number | undefined;
  /** Nobody wants an answer any more, so it is not sent again. */
  readonly isOver?: () => boolean;
}

/** The pauses between the attempts of one call. */
class Pauses {
  readonly #longestMs: number;
  #pauseMs = FIRST_PAUSE_MS;
  #isLast = false;

  constructor(budgetMs: number) {
    // A part of the budget: the last attempt is to be near its end.
    this.#longestMs = Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, budgetMs / 8));
  }

  /**
   * Milliseconds before the next attempt, `most` at most; undefined where there is no time for
   * one.
   */
  next(failure: Failure, most: number, hasAnother: boolean): number | undefined {
    const own = Math.min(this.#pauseMs, this.#longestMs) * (0.5 + Math.random() / 2);
    this.#pauseMs *= 2;
    const asked = failure.retryAfterMs ?? 0;
    if (own >= most || this.#isLast) return undefined;
    // What one node asks for does not bind the next one.
    if (hasAnother) return own;
    if (asked < most) return Math.max(own, asked);
    if (failure.code === Code.ResourceExhausted) return undefined;
    // It asks for more than there is time for. There may be another node behind the same
    // address: it is asked once more.
    this.#isLast = true;
    return Math.max(own, most / 2);
  }
}

function circuitOpen(retryAfterMs: number, attempts: number): UnavailableError {
  const failure = { code: Code.Unavailable, reason: "CIRCUIT_OPEN", retryAfterMs, fields: [] };
  return new UnavailableError(
    "tollgate does not answer and is not asked until it does",
    failure,
    attempts,
  );
}

type Outcome<T> = { answer: T } | { failure: Failure & { message: string }; error: unknown };

/** One attempt. It ends in its time also where the transport does not keep to it. */
async function attempt<T>(
  send: Send<T>,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  isCut: () => boolean,
): Promise<Outcome<T>> {
  const ends = new AbortController();
  const over = new Promise<never>((_, reject) => {
    ends.signal.addEventListener("abort", () => reject(ends.signal.reason as Error), {
      once: true,
    });
  });
  const timer = setTimeout(
    () => ends.abort(new ConnectError("no answer in time", Code.DeadlineExceeded)),
    timeoutMs,
  );
  const cut = (): void => ends.abort(new ConnectError("cut off", Code.Canceled));
  const looks = setInterval(() => isCut() && cut(), CUT_WITHIN_MS);
  signal?.addEventListener("abort", cut, { once: true });
  try {
    return {
      answer: await Promise.race([
        sent(send, { timeoutMs: Math.ceil(timeoutMs), signal: ends.signal }),
        over,
      ]),
    };
  } catch (error) {
    return { failure: failureOf(error), error };
  } finally {
    clearTimeout(timer);
    clearInterval(looks);
    signal?.removeEventListener("abort", cut);
  }
}

/** What is thrown at once is an outcome like any other. */
async function sent<T>(send: Send<T>, options: CallOptions): Promise<T> {
  return send(options);
}

/** Ends early when the signal aborts; what to do then is the caller's. */
function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done, { once: true });
  });
}
