/** A reservation: amounts that are held until they are committed or released, or expire. */
import type { Amounts, AmountTexts } from "./amounts.js";
import { toTexts } from "./amounts.js";
import type { CallBudget, Caller } from "./call.js";
import type { HoldTerms } from "./decision.js";
import { ttlOf } from "./options.js";
import { requestId } from "./request_id.js";
import { send } from "./settlement.js";

export class Hold {
  readonly reservationId: string;
  /** What is held, in the unit of each meter. */
  readonly reserved: AmountTexts;
  /** When it expires; undefined for a hold of a ticket. */
  readonly terms: HoldTerms | undefined;
  readonly #caller: Caller;
  readonly #org: string;
  // Kept from the first attempt on: a Commit that is tried again by the caller counts once.
  readonly #ids: { commit?: string; release?: string } = {};
  #isOpen = true;

  /** `guard` and `reserve` make them. @internal */
  constructor(
    caller: Caller,
    org: string,
    reservationId: string,
    reserved: AmountTexts,
    terms: HoldTerms | undefined,
  ) {
    this.#caller = caller;
    this.#org = org;
    this.reservationId = reservationId;
    this.reserved = reserved;
    this.terms = terms;
  }

  /** Whether it was neither committed nor released here. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Settles with what was really used, less or more than reserved; a meter that is absent is
   * given back whole. Errors: `RefusedError` (NOT_FOUND, FAILED_PRECONDITION: settled elsewhere),
   * `UnavailableError`: call it again.
   */
  async commit(actual: Amounts, budget: CallBudget = {}): Promise<void> {
    await this.#settle("commit", toTexts(actual), budget);
  }

  /** Gives all of it back. Errors as `commit`. */
  async release(budget: CallBudget = {}): Promise<void> {
    await this.#settle("release", {}, budget);
  }

  /**
   * Moves the expiry to so many milliseconds from now, at least 1000; returns what is left of it.
   * Errors as `commit`.
   */
  async extend(ttlMs: number, budget: CallBudget = {}): Promise<number> {
    const message = {
      org: this.#org,
      reservationId: this.reservationId,
      requestId: requestId(),
      ttlMs: ttlOf(ttlMs),
    };
    const answer = await this.#caller.retried(
      (options) => this.#caller.raw.gate.extend(message, options),
      budget,
    );
    return Number(answer.remainingMs);
  }

  async #settle(
    kind: "commit" | "release",
    actual: AmountTexts,
    budget: CallBudget,
  ): Promise<void> {
    const common = {
      org: this.#org,
      reservationId: this.reservationId,
      requestId: (this.#ids[kind] ??= requestId()),
    };
    await send(
      this.#caller,
      kind === "commit" ? { kind, ...common, actual } : { kind, ...common },
      budget,
    );
    this.#isOpen = false;
  }
}
