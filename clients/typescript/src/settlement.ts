/**
 * What is sent after an execution: a Commit or Release of what it reserved, or a Record that says
 * that it has completed and what it used. Plain JSON, with its request id, so that one that could
 * not be sent is kept and sent later, also by another process, and counts once.
 */
import type { CallOptions } from "@connectrpc/connect";
import type { AmountTexts } from "./amounts.js";
import { toWire } from "./amounts.js";
import type { CallBudget, Caller } from "./call.js";
import type { TollgateError } from "./errors.js";

interface SettlementOf<Kind extends string> {
  readonly kind: Kind;
  readonly org: string;
  /** Under which it is charged once, for 24 hours. */
  readonly requestId: string;
}

/**
 * Settles a reservation with what was really used, in the unit of each meter. It is taken until 24
 * hours after the reservation has expired.
 */
export interface CommitSettlement extends SettlementOf<"commit"> {
  readonly reservationId: string;
  readonly actual: AmountTexts;
}

/** Gives a reservation back: the execution did not happen. */
export interface ReleaseSettlement extends SettlementOf<"release"> {
  readonly reservationId: string;
}

/** Completes a decision and records usage; without a decision it records usage alone. */
export interface RecordSettlement extends SettlementOf<"record"> {
  readonly scope: readonly string[];
  /** Empty where tollgate made no decision. */
  readonly decisionId: string;
  readonly usage: AmountTexts;
  /** Milliseconds since the Unix epoch, at most 35 days ago; 0 = when it is sent. */
  readonly occurredAtMs: number;
}

export type Settlement = CommitSettlement | ReleaseSettlement | RecordSettlement;

/** A settlement that did not reach tollgate. */
export interface FailedSettlement {
  readonly settlement: Settlement;
  readonly error: TollgateError;
}

/** Takes over what nobody else waits for. */
export type WaitUntil = (settled: Promise<unknown>) => void;

/** Sends it until it is taken. Errors: `RefusedError`, `UnavailableError`. */
export async function send(
  caller: Caller,
  settlement: Settlement,
  budget: CallBudget = {},
): Promise<void> {
  const within = { ...budget, budgetMs: budget.budgetMs ?? caller.settings.settleBudgetMs };
  await caller.retried((options) => sent(caller, settlement, options), within);
}

async function sent(
  caller: Caller,
  settlement: Settlement,
  options: CallOptions,
): Promise<unknown> {
  const { gate } = caller.raw;
  const { org, requestId } = settlement;
  switch (settlement.kind) {
    case "commit": {
      const { reservationId, actual } = settlement;
      return gate.commit({ org, requestId, reservationId, actual: toWire(actual) }, options);
    }
    case "release":
      return gate.release({ org, requestId, reservationId: settlement.reservationId }, options);
    case "record": {
      const { scope, decisionId, usage, occurredAtMs } = settlement;
      const message = {
        org,
        requestId,
        scopes: [...scope],
        decisionId,
        usage: toWire(usage),
      };
      return gate.record({ ...message, occurredAtMs: BigInt(occurredAtMs) }, options);
    }
  }
}

/** Settlements of a client that are under way, and what else nobody waits for. */
export class Settlements {
  readonly #caller: Caller;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Sends it, as `underWay`. Never fails: what has run has run. */
  async settle(settlement: Settlement, waitUntil?: WaitUntil): Promise<void> {
    await this.underWay(this.#sent(settlement), waitUntil);
  }

  /**
   * Returns when `work`, which never fails, is done, or at once where somebody else waits for it
   * (`waitUntil`). Where that throws, what has run has run, and it is waited for here.
   */
  async underWay(
    work: Promise<unknown>,
    waitUntil: WaitUntil | undefined = this.#caller.settings.waitUntil,
  ): Promise<void> {
    this.#underWay.add(work);
    void work.then(() => this.#underWay.delete(work));
    try {
      if (waitUntil) return waitUntil(work);
    } catch {
      // Such as the method of a Worker's context without its context.
    }
    await work;
  }

  /**
   * Calls, and waits for the answer as long as the caller does. Where `signal` ends the wait the call
   * goes on within its budget, and `undo` gives back what it was granted.
   */
  async whileWaited<T>(
    signal: AbortSignal,
    call: () => Promise<T>,
    undo: (answer: T) => Promise<void>,
  ): Promise<T> {
    signal.throwIfAborted();
    const answering = call();
    let end = (): void => {};
    const ended = new Promise<never>((_, reject) => {
      end = () => {
        void this.underWay(answering.then(undo).catch(() => {}));
        reject(signal.reason as Error);
      };
    });
    signal.addEventListener("abort", end, { once: true });
    try {
      return await Promise.race([answering, ended]);
    } finally {
      signal.removeEventListener("abort", end);
    }
  }

  async flush(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  async #sent(settlement: Settlement): Promise<void> {
    const { stats, settings } = this.#caller;
    // An execution without a decision is not to wait for a tollgate that was away.
    const isUndecided = settlement.kind === "record" && settlement.decisionId === "";
    try {
      if (isUndecided) {
        const { budgetMs } = settings;
        await this.#caller.once((options) => sent(this.#caller, settlement, options), budgetMs);
      } else await send(this.#caller, settlement);
      stats.settled += 1;
    } catch (error) {
      stats.settlementsFailed += 1;
      quietly(() => settings.onSettlementFailed?.({ settlement, error: error as TollgateError }));
    }
  }
}

/** A hook of the caller's ends no execution. */
export function quietly(hook: () => unknown): void {
  try {
    // The hook reports its own errors, at once or later.
    Promise.resolve(hook()).catch(() => {});
  } catch {
    // As above.
  }
}
