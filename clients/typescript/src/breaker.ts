/**
 * Stops asking a tollgate that does not answer, so that its outage costs some executions their
 * budget and not each.
 *
 *   closed ── budgets used up in a row ──▶ open ── pause is over ──▶ half-open
 *     ▲                                     ▲                         │     │
 *     │                                     └── no answer: a longer ──┘     │
 *     └────────────────────────────── an answer ───────────────────────────┘
 *
 * It counts budgets and not attempts: what retries bridge, such as a restart, is no outage.
 */
import type { BreakerSettings } from "./options.js";

export type BreakerState = "closed" | "open" | "half-open";

export class Breaker {
  readonly #options: BreakerSettings;
  #failures = 0;
  #pauseMs: number;
  #openUntil = 0;
  #state: BreakerState = "closed";
  #openings = 0;

  constructor(options: BreakerSettings) {
    this.#options = options;
    this.#pauseMs = options.minMs;
  }

  get state(): BreakerState {
    return this.#state;
  }

  /**
   * How often it has opened: calls that wait for the same silence then need not wait on. A number
   * and no signal, because in Workers one request must not end what another one waits for.
   */
  get openings(): number {
    return this.#openings;
  }

  /**
   * Whether a call may be sent now. Half-open, the first one is the probe, and all others are
   * refused.
   */
  admits(now: number): boolean {
    if (this.#state === "closed") return true;
    if (this.#state === "half-open" || now < this.#openUntil) return false;
    this.#state = "half-open";
    return true;
  }

  /** Milliseconds until the next probe. */
  waitMs(now: number): number {
    return Math.max(0, this.#openUntil - now);
  }

  /** tollgate answered, with a decision or with a refusal. */
  answered(): void {
    this.#failures = 0;
    this.#pauseMs = this.#options.minMs;
    this.#state = "closed";
  }

  /** A call ended before it was known whether tollgate answers: another one is the probe. */
  abandoned(): void {
    if (this.#state === "half-open") this.#state = "open";
  }

  /** A budget is used up. */
  failed(now: number): void {
    this.#failures += 1;
    if (this.#options.failures === 0 || this.#state === "open") return;
    if (this.#state === "half-open")
      this.#pauseMs = Math.min(this.#pauseMs * 2, this.#options.maxMs);
    else if (this.#failures < this.#options.failures) return;
    this.#state = "open";
    // Clients that saw the same outage do not probe at the same time.
    this.#openUntil = now + this.#pauseMs * (0.75 + Math.random() / 2);
    this.#openings += 1;
  }
}
