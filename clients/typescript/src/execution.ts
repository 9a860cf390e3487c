/** One execution while it runs: what it used, what it holds, and whether it has paused. */
import type { Admission, Asked } from "./admission.js";
import type { Amounts, AmountTexts } from "./amounts.js";
import { sum, toTexts } from "./amounts.js";
import { Hold } from "./hold.js";
import type { Caller } from "./call.js";
import { requestId } from "./request_id.js";
import type { Settlement } from "./settlement.js";

/**
 * What a paused execution needs to be continued and settled, as plain JSON: keep it with its state.
 */
export interface Ticket {
  readonly org: string;
  readonly scope: readonly string[];
  /** Under which continuations are counted. */
  readonly executionId: string;
  /** Empty where it ran without a decision. */
  readonly decisionId: string;
  /** Empty without a hold. */
  readonly reservationId: string;
  readonly reserved: AmountTexts;
  /** Used until it paused. */
  readonly used: AmountTexts;
}

/** When a failed execution counts as completed. */
export type CompleteOn = "success" | "always";

export class Execution {
  /** The decision that admitted it; where there is none, the request id. */
  readonly id: string;
  /** Why it runs. */
  readonly admission: Admission;
  /**
   * What it holds, where `reserve` was asked for. It is settled by itself when the execution
   * ends, unless it was committed or released before.
   */
  readonly hold: Hold | undefined;
  readonly #asked: Omit<Asked, "call">;
  readonly #decisionId: string;
  readonly #hasOwnId: boolean;
  #used: Amounts;
  #isPaused = false;

  private constructor(asked: Omit<Asked, "call">, admission: Admission, parts: Parts) {
    this.id = parts.executionId;
    this.admission = admission;
    this.hold = parts.hold;
    this.#asked = asked;
    this.#decisionId = parts.decisionId;
    this.#hasOwnId = parts.hasOwnId;
    this.#used = parts.used;
  }

  /** @internal */
  static admitted(
    caller: Caller,
    asked: Asked,
    admission: Exclude<Admission, { by: "resume" }>,
    about: Begun,
  ): Execution {
    const decision = admission.by === "tollgate" ? admission.decision : undefined;
    const hold =
      decision?.hold &&
      new Hold(
        caller,
        asked.org,
        decision.hold.reservationId,
        toTexts(about.reserve),
        decision.hold,
      );
    const decisionId = decision?.decisionId ?? "";
    const executionId = decisionId || asked.requestId;
    return new Execution(asked, admission, {
      executionId,
      decisionId,
      hold,
      used: {},
      hasOwnId: about.hasOwnId,
    });
  }

  /** @internal */
  static resumed(caller: Caller, ticket: Ticket): Execution {
    const { org, scope, executionId, decisionId, reservationId, reserved, used } = ticket;
    const hold =
      reservationId === "" ? undefined : new Hold(caller, org, reservationId, reserved, undefined);
    const amounts = Object.fromEntries(
      Object.entries(used).map(([meter, amount]) => [meter, BigInt(amount)]),
    );
    const asked = { org, scope, requestId: requestId() };
    return new Execution(
      asked,
      { by: "resume" },
      { executionId, decisionId, hold, used: amounts, hasOwnId: false },
    );
  }

  /** Under which it was asked for. */
  get requestId(): string {
    return this.#asked.requestId;
  }

  /**
   * It used this much, in the unit of each meter; several calls add up. It is recorded when the
   * execution has ended, also when it failed.
   */
  used(amounts: Amounts): void {
    this.#used = sum(this.#used, amounts);
  }

  /**
   * It pauses: when `run` returns it has not completed, and nothing is settled. Continue it with
   * `resume`.
   */
  pause(): Ticket {
    this.#isPaused = true;
    return {
      org: this.#asked.org,
      scope: this.#asked.scope,
      executionId: this.id,
      decisionId: this.#decisionId,
      reservationId: this.hold?.isOpen ? this.hold.reservationId : "",
      reserved: this.hold?.reserved ?? {},
      used: toTexts(this.#used),
    };
  }

  /** What is to be sent now that it has ended; undefined where there is nothing. @internal */
  settlement(succeeded: boolean, completeOn: CompleteOn): Settlement | undefined {
    const { org, scope } = this.#asked;
    // An id of the caller's names the same work when it is delivered again, and so its
    // settlement. One of ours is of its time, and may be too old by now.
    const id = this.#hasOwnId ? this.#asked.requestId : requestId();
    const isComplete = succeeded || completeOn === "always";
    const usage = toTexts(this.#used);
    const hasUsed = Object.keys(usage).length > 0;
    if (this.#isPaused && succeeded) return undefined;
    if (this.hold) {
      if (!this.hold.isOpen) return undefined;
      if (hasUsed || isComplete) {
        // Who says nothing of what a success used is taken to have used what was reserved
        // for it.
        const actual = hasUsed || !succeeded ? usage : this.hold.reserved;
        return {
          kind: "commit",
          org,
          requestId: id,
          reservationId: this.hold.reservationId,
          actual,
        };
      }
      return { kind: "release", org, requestId: id, reservationId: this.hold.reservationId };
    }
    if (!hasUsed && (this.#decisionId === "" || !isComplete)) return undefined;
    const decisionId = this.#decisionId;
    // Usage without a decision is often sent later, when tollgate is back; it counts when it
    // happened.
    const occurredAtMs = decisionId === "" && !this.#hasOwnId ? Date.now() : 0;
    return { kind: "record", org, scope, requestId: id, decisionId, usage, occurredAtMs };
  }
}

/** What was asked for that the execution has to know. */
export interface Begun {
  readonly reserve: Amounts | undefined;
  readonly hasOwnId: boolean;
}

interface Parts {
  readonly executionId: string;
  readonly decisionId: string;
  readonly hold: Hold | undefined;
  readonly used: Amounts;
  readonly hasOwnId: boolean;
}
