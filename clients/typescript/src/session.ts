/**
 * A session as its host runs it: a start, a heartbeat as often as tollgate asks for one, an end.
 * Heartbeats carry the total so far, so one that is lost is made up for by the next one.
 */
import type { AcquireOptions, Admission, Asked, PolicyOptions } from "./admission.js";
import { admit, scopesOf, texts } from "./admission.js";
import type { CallBudget, Caller } from "./call.js";
import type { Decision, Denial } from "./decision.js";
import { decisionOf, positive } from "./decision.js";
import type { TollgateError } from "./errors.js";
import { UnavailableError } from "./errors.js";
import type { HeartbeatResponse, StartSessionResponse } from "./gen/tollgate/v1/session_pb.js";
import { SessionAction, SessionState } from "./gen/tollgate/v1/session_pb.js";
import { requestId } from "./request_id.js";
import type { Settlements } from "./settlement.js";
import { quietly } from "./settlement.js";

/** What a heartbeat was answered. */
export interface SessionUse {
  /** Milliseconds of compute of the org this month, or in its trial, over all its sessions. */
  readonly usedMs: number;
  /** undefined = unlimited. */
  readonly quotaMs: number | undefined;
  /** For people; empty where all is well. */
  readonly message: string;
  /** Where more can be had; empty where nothing is configured. */
  readonly upgradeUrl: string;
}

/** Why a session has to end, and in how many milliseconds; 0 = at once. */
export interface SessionStop extends SessionUse {
  readonly graceMs: number;
  /** `denied`: it had started without a decision, and now there is one. */
  readonly why: "quota" | "denied";
}

/** How its host runs a session. */
export interface HostOptions {
  /** Who or what it runs for: 1 to 128 printable ASCII characters. */
  readonly identity: string;
  /**
   * Names one run of the machine, such as its boot id; a new one counts from zero. Default: a new
   * UUID.
   */
  readonly incarnation?: string | undefined;
  /** Seconds that it has run in this incarnation. Default: the time since the start. */
  readonly totalSeconds?: (() => number) | undefined;
  /** Save and end within `graceMs`, then call `end`. Called once. */
  readonly onStop: (stop: SessionStop, session: Session) => void;
  /** 80 or 95 percent of the quota are used. Called once for each. */
  readonly onWarn?:
    ((warning: SessionUse & { readonly percent: number }, session: Session) => void) | undefined;
  /**
   * tollgate has ended it, or knows no such session: nothing of it is recorded any more. Called
   * once.
   */
  readonly onLost?:
    | ((lost: { readonly reason: "expired" | "ended" | "unknown" }, session: Session) => void)
    | undefined;
  /** A heartbeat was not answered; the next one makes up for it. */
  readonly onHeartbeatFailed?: ((error: unknown) => void) | undefined;
}

export interface SessionOptions
  extends HostOptions, PolicyOptions, Pick<AcquireOptions, "scope" | "budgetMs" | "signal"> {
  /** Unique in the org, same form as an org. Default: a new UUID. */
  readonly sessionId?: string | undefined;
  /**
   * Default `closed`, whatever that of the client is: a session without a slot is one that nobody
   * can stop until there is a decision.
   */
  readonly onUnavailable?: PolicyOptions["onUnavailable"];
}

/** What is known of a session that runs. */
export interface AttachOptions extends HostOptions {
  readonly sessionId: string;
  /** As it was started with. */
  readonly incarnation: string;
  /** Seconds that it has run in this incarnation, before it was taken over as well. */
  readonly totalSeconds: () => number;
}

/** What became of the start of a session. */
export type SessionStart =
  | {
      readonly allowed: true;
      readonly session: Session;
      readonly admission: Exclude<Admission, { by: "resume" }>;
    }
  | { readonly allowed: false; readonly denial: Denial };

/** Where tollgate names no interval. */
const HEARTBEAT_MS = 30_000;
/** How often one that runs without a decision asks for it. */
const ASK_AGAIN_MS = 5_000;

/** A timer takes no longer one. */
const LONGEST_MS = 3_600_000;

/** Starts one. Errors: `RefusedError`, and `UnavailableError` where the policy is `closed`. */
export async function start(
  caller: Caller,
  settlements: Settlements,
  org: string,
  options: SessionOptions,
): Promise<SessionStart> {
  const { signal, budgetMs, scope, onUnavailable = "closed" } = options;
  const session = new Session(caller, org, options, scopesOf(scope));
  const starting = () => session.start({ budgetMs });
  const admission = await admit(caller, session.asked, onUnavailable, () =>
    signal ? settlements.whileWaited(signal, starting, () => session.end()) : starting(),
  );
  if ("allowed" in admission) return { allowed: false, denial: admission };
  session.beat();
  return { allowed: true, session, admission };
}

/** Takes one over that runs. */
export function attach(caller: Caller, org: string, options: AttachOptions): Session {
  const session = new Session(caller, org, options, []);
  session.adopt();
  return session;
}

export class Session {
  readonly org: string;
  readonly sessionId: string;
  readonly identity: string;
  readonly incarnation: string;
  /** @internal */
  readonly asked: Asked;
  readonly #caller: Caller;
  readonly #options: HostOptions;
  readonly #began = performance.now();
  readonly #endId = requestId();
  #intervalMs = ASK_AGAIN_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #state: "starting" | "running" | "ending" | "lost" = "starting";
  /** Whether tollgate has ever said that it runs. */
  #isKnown = false;
  #isStopping = false;
  #warned = 0;
  /** A repetition under the same request id says the same. */
  #lastTotal: bigint | undefined;
  #ending: Promise<void> | undefined;

  /** `session` of a client starts one, `attach` takes one over. @internal */
  constructor(
    caller: Caller,
    org: string,
    options: HostOptions & { readonly sessionId?: string | undefined },
    scope: readonly string[],
  ) {
    this.#caller = caller;
    this.#options = options;
    this.org = org;
    this.sessionId = options.sessionId ?? requestId();
    this.identity = options.identity;
    this.incarnation = options.incarnation ?? requestId();
    this.asked = { call: "startSession", org, scope, requestId: requestId() };
  }

  /** Whether it was asked to end. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Whether tollgate knows it and takes its heartbeats. */
  get isRunning(): boolean {
    return this.#state === "running";
  }

  /** Seconds in this incarnation, as reported. Errors: RangeError for what is no number. */
  get totalSeconds(): number {
    const { totalSeconds } = this.#options;
    const total = totalSeconds ? totalSeconds() : (performance.now() - this.#began) / 1000;
    const whole = Math.max(0, Math.floor(total));
    if (!Number.isSafeInteger(whole)) throw new RangeError(`totalSeconds: ${total} is not allowed`);
    return whole;
  }

  /** @internal */
  async start(budget: CallBudget): Promise<Decision> {
    const { org, sessionId, identity } = this;
    const { scope, requestId } = this.asked;
    const { plane } = this.#caller.settings;
    const message = { org, sessionId, identity, requestId, scopes: [...scope], plane };
    texts({ org, sessionId, identity, plane, scope });
    const answer = await this.#caller.guarded(
      (call) => this.#caller.raw.session.startSession(message, call),
      budget,
    );
    if (answer.allowed) this.#started(answer);
    return decisionOf(answer);
  }

  /** @internal */
  adopt(): void {
    this.#isKnown = true;
    this.#state = "running";
    this.beat();
  }

  /**
   * Sends a heartbeat now, beside those of the timer. Of a session that runs without a decision
   * it asks for one instead, and returns undefined; of one that is over nothing is sent. Errors:
   * `RefusedError`, `UnavailableError`.
   */
  async heartbeat(budget: CallBudget = {}): Promise<SessionUse | undefined> {
    if (this.#state === "starting") return this.#startLate(budget);
    if (this.#state !== "running") return undefined;
    const { org, sessionId, identity, incarnation } = this;
    const message = {
      org,
      sessionId,
      identity,
      incarnation,
      totalSeconds: BigInt(this.totalSeconds),
    };
    try {
      const answer = await this.#caller.retried(
        (call) => this.#caller.raw.session.heartbeat(message, call),
        budget,
        () => this.#state !== "running",
      );
      return this.#heard(answer);
    } catch (error) {
      // It has ended meanwhile, and reports its total with that.
      if (this.#hasEnded()) return undefined;
      if (isUnknown(error)) this.#lose("unknown");
      throw error;
    }
  }

  #hasEnded(): boolean {
    return this.#state === "ending";
  }

  /**
   * Ends it, with the last total. No heartbeat is sent from here on. Where it fails it may be called
   * again. Errors: `RefusedError`, `UnavailableError`, RangeError for a total that is no number.
   */
  end(budget: CallBudget = {}): Promise<void> {
    this.#ending ??= this.#end(budget).catch((error: unknown) => {
      this.#ending = undefined;
      throw error;
    });
    return this.#ending;
  }

  async #end(budget: CallBudget): Promise<void> {
    if (this.#state === "lost") return;
    this.#lastTotal ??= BigInt(this.totalSeconds);
    clearTimeout(this.#timer);
    this.#state = "ending";
    await this.#sendEnd(budget, this.#lastTotal);
  }

  /** Its start may have arrived also where its answer has not. */
  async #sendEnd(budget: CallBudget, totalSeconds: bigint): Promise<void> {
    const { org, sessionId, identity, incarnation } = this;
    const message = { org, sessionId, identity, incarnation, requestId: this.#endId, totalSeconds };
    const { settleBudgetMs, budgetMs } = this.#caller.settings;
    const within = budget.budgetMs ?? (this.#isKnown ? settleBudgetMs : budgetMs);
    try {
      await this.#caller.retried((call) => this.#caller.raw.session.endSession(message, call), {
        ...budget,
        budgetMs: within,
      });
    } catch (error) {
      if (!isUnknown(error)) throw error;
    }
  }

  /** Arms the timer of the next heartbeat. @internal */
  beat(): void {
    if (this.#state === "lost" || this.#state === "ending") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#tick(), this.#intervalMs);
    // A process is not kept alive by it. Workers and browsers have no such timers.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  async #tick(): Promise<void> {
    try {
      await this.heartbeat();
    } catch (error) {
      if (this.#state !== "lost") quietly(() => this.#options.onHeartbeatFailed?.(error));
    }
    this.beat();
  }

  /**
   * It runs without a decision. The same start is asked for until there is one; a denial ends it.
   */
  async #startLate(budget: CallBudget): Promise<undefined> {
    const decision = await this.start(budget);
    // It has ended while its start was asked for, and may have been unknown then.
    if (this.#lastTotal !== undefined && decision.allowed) await this.#sendEnd({}, this.#lastTotal);
    if (decision.allowed || this.#state !== "starting") return;
    this.#state = "lost";
    const { message, upgradeUrl } = decision;
    this.#stop({
      why: "denied",
      graceMs: 0,
      usedMs: 0,
      quotaMs: undefined,
      message,
      upgradeUrl,
    });
  }

  #started(answer: StartSessionResponse): void {
    this.#intervalMs = intervalOf(answer, HEARTBEAT_MS);
    this.#isKnown = true;
    if (this.#state === "starting") this.#state = "running";
  }

  #heard(answer: HeartbeatResponse): SessionUse {
    this.#intervalMs = intervalOf(answer, this.#intervalMs);
    const quotaMs = answer.unlimited ? undefined : Number(answer.quotaMs);
    const use = {
      usedMs: Number(answer.usedMs),
      quotaMs,
      message: answer.message,
      upgradeUrl: answer.upgradeUrl,
    };
    if (this.#state !== "running") return use;
    if (answer.state === SessionState.EXPIRED) this.#lose("expired");
    else if (answer.state === SessionState.ENDED) this.#lose("ended");
    else if (answer.action === SessionAction.STOP)
      this.#stop({ ...use, graceMs: Number(answer.graceMs), why: "quota" });
    else if (answer.action === SessionAction.WARN && answer.warnPercent > this.#warned) {
      this.#warned = answer.warnPercent;
      quietly(() => this.#options.onWarn?.({ ...use, percent: answer.warnPercent }, this));
    }
    return use;
  }

  #stop(stop: SessionStop): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    quietly(() => this.#options.onStop(stop, this));
  }

  #lose(reason: "expired" | "ended" | "unknown"): void {
    if (this.#state !== "running") return;
    this.#state = "lost";
    clearTimeout(this.#timer);
    quietly(() => this.#options.onLost?.({ reason }, this));
  }
}

function intervalOf(answer: { heartbeatIntervalMs: bigint }, otherwise: number): number {
  return Math.min(positive(answer.heartbeatIntervalMs) ?? otherwise, LONGEST_MS);
}

function isUnknown(error: unknown): boolean {
  return (
    (error as TollgateError | undefined)?.reason === "SESSION_UNKNOWN" &&
    !(error instanceof UnavailableError)
  );
}
