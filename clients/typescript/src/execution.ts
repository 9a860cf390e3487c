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
  readonly #isResumed: boolean;
  /** All of it, and of that what no ticket carries. */
  #used: Amounts;
  #usedHere: Amounts = {};
  #isPaused = false;
  #hasFailed = false;

  private constructor(asked: Omit<Asked, "call">, admission: Admission, parts: Parts) {
    this.id = parts.executionId;
    this.admission = admission;
    this.hold = parts.hold;
    this.#asked = asked;
    this.#decisionId = parts.decisionId;
    this.#hasOwnId = parts.hasOwnId;
    this.#isResumed = admission.by === "resume";
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
    this.#usedHere = sum(this.#usedHere, amounts);
  }

  /**
   * It has failed for good, also where `run` returns: nobody tries it again, and no ticket of it is
   * kept. It is settled as one that failed, and its hold is given back.
   */
  failed(): void {
    this.#hasFailed = true;
  }

  /**
   * It pauses: however `run` ends it has not completed, and the ticket settles what it carries.
   * Continue it with `resume`.
   */
  pause(): Ticket {
    this.#isPaused = true;
    this.#usedHere = {};
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

  /** What is to be sent now that `run` has ended; undefined where there is nothing. @internal */
  settlement(hasReturned: boolean, completeOn: CompleteOn): Settlement | undefined {
    if (this.hold && !this.hold.isOpen) return undefined;
    const hasSucceeded = hasReturned && !this.#hasFailed;
    const isComplete = hasSucceeded || completeOn === "always";
    const mayGoOn = this.#isPaused || (!isComplete && (this.#isResumed || this.#hasOwnId));
    if (mayGoOn && !this.#hasFailed) return this.#increment();
    const usage = toTexts(this.#used);
    const hasUsed = Object.keys(usage).length > 0;
    // An id of the caller's names the same work when it is delivered again, and so its
    // settlement. One of ours is of its time, and may be too old by now.
    const id = this.#hasOwnId ? this.#asked.requestId : requestId();
    if (!this.hold) {
      const isKnown = this.#decisionId !== "" && isComplete;
      return hasUsed || isKnown ? this.#record(usage, id) : undefined;
    }
    const common = { org: this.#asked.org, requestId: id, reservationId: this.hold.reservationId };
    if (!hasUsed && !isComplete) return { kind: "release", ...common };
    // Who says nothing of what a success used is taken to have used what was reserved for it.
    return {
      kind: "commit",
      ...common,
      actual: hasUsed || !hasSucceeded ? usage : this.hold.reserved,
    };
  }

  /**
   * Of an attempt after which the execution goes on, or is tried again under the same ticket or id:
   * what it alone has used. All else, and the hold, is settled by the one that ends it.
   */
  #increment(): Settlement | undefined {
    const usage = toTexts(this.#usedHere);
    return Object.keys(usage).length > 0 ? this.#record(usage, requestId()) : undefined;
  }

  #record(usage: AmountTexts, id: string): Settlement {
    const { org, scope } = this.#asked;
    const decisionId = this.#decisionId;
    // Usage without a decision is often sent later, when tollgate is back; it counts when it
    // happened. Under an id of the caller's a repetition says the same.
    const isDated = decisionId === "" && id !== this.#asked.requestId;
    const occurredAtMs = isDated ? Date.now() : 0;
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
