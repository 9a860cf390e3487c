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

export interface SessionOptions
  extends PolicyOptions, Pick<AcquireOptions, "scope" | "budgetMs" | "signal"> {
  /** Unique in the org, same form as an org. Default: a new UUID. */
  readonly sessionId?: string;
  /** Who or what it runs for: 1 to 128 printable ASCII characters. */
  readonly identity: string;
  /**
   * Names one run of the machine, such as its boot id; a new one counts from zero. Default: a new
   * UUID.
   */
  readonly incarnation?: string;
  /** Seconds that it has run in this incarnation. Default: the time since the start. */
  readonly totalSeconds?: () => number;
  /** Save and end within `graceMs`, then call `end`. Called once. */
  readonly onStop: (stop: SessionStop, session: Session) => void;
  /** 80 or 95 percent of the quota are used. Called once for each. */
  readonly onWarn?: (warning: SessionUse & { readonly percent: number }, session: Session) => void;
  /**
   * tollgate has ended it, or knows no such session: nothing of it is recorded any more. Called
   * once.
   */
  readonly onLost?: (
    lost: { readonly reason: "expired" | "ended" | "unknown" },
    session: Session,
  ) => void;
  /** A heartbeat was not answered; the next one makes up for it. */
  readonly onHeartbeatFailed?: (error: unknown) => void;
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

/** Starts one. Errors: `RefusedError`, and `UnavailableError` where the policy is `closed`. */
export async function start(
  caller: Caller,
  org: string,
  options: SessionOptions,
): Promise<SessionStart> {
  const session = new Session(caller, org, options);
  const admission = await admit(caller, session.asked, options.onUnavailable, () =>
    session.start(options),
  );
  if ("allowed" in admission) return { allowed: false, denial: admission };
  session.beat();
  return { allowed: true, session, admission };
}

export class Session {
  readonly org: string;
  readonly sessionId: string;
  readonly identity: string;
  readonly incarnation: string;
  /** @internal */
  readonly asked: Asked;
  readonly #caller: Caller;
  readonly #options: SessionOptions;
  readonly #began = performance.now();
  readonly #endId = requestId();
  #intervalMs = ASK_AGAIN_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #state: "starting" | "running" | "lost" | "ended" = "starting";
  #isStopping = false;
  #warned = 0;

  /** `session` of a client starts one. @internal */
  constructor(caller: Caller, org: string, options: SessionOptions) {
    this.#caller = caller;
    this.#options = options;
    this.org = org;
    this.sessionId = options.sessionId ?? requestId();
    this.identity = options.identity;
    this.incarnation = options.incarnation ?? requestId();
    this.asked = {
      call: "startSession",
      org,
      scope: scopesOf(options.scope),
      requestId: requestId(),
    };
  }

  /** Whether it was asked to end. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Whether tollgate knows it and takes its heartbeats. */
  get isRunning(): boolean {
    return this.#state === "running";
  }

  /** Seconds in this incarnation, as reported. */
  get totalSeconds(): number {
    const { totalSeconds } = this.#options;
    return Math.max(
      0,
      Math.floor(totalSeconds ? totalSeconds() : (performance.now() - this.#began) / 1000),
    );
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

  /**
   * Sends a heartbeat now, beside those of the timer. Of a session that runs without a decision
   * it asks for one instead, and returns undefined. Errors: `RefusedError`, `UnavailableError`.
   */
  async heartbeat(budget: CallBudget = {}): Promise<SessionUse | undefined> {
    if (this.#state === "starting") return this.#startLate(budget);
    const { org, sessionId, identity, incarnation } = this;
    const message = {
      org,
      sessionId,
      identity,
      incarnation,
      totalSeconds: BigInt(this.totalSeconds),
    };
    const answer = await this.#caller.retried(
      (call) => this.#caller.raw.session.heartbeat(message, call),
      budget,
    );
    return this.#heard(answer);
  }

  /**
   * Ends it, with the last total. It may be called again after an error. Errors: `RefusedError`,
   * `UnavailableError`.
   */
  async end(budget: CallBudget = {}): Promise<void> {
    const wasKnown = this.#state === "running";
    clearTimeout(this.#timer);
    if (this.#state !== "lost") this.#state = "ended";
    if (!wasKnown) return;
    const { org, sessionId, identity, incarnation } = this;
    const message = { org, sessionId, identity, incarnation, requestId: this.#endId };
    const total = BigInt(this.totalSeconds);
    const within = {
      ...budget,
      budgetMs: budget.budgetMs ?? this.#caller.settings.settleBudgetMs,
    };
    try {
      await this.#caller.retried(
        (call) => this.#caller.raw.session.endSession({ ...message, totalSeconds: total }, call),
        within,
      );
    } catch (error) {
      if (isUnknown(error)) return;
      this.#state = "running";
      throw error;
    }
  }

  /** Arms the timer of the next heartbeat. @internal */
  beat(): void {
    if (this.#state === "lost" || this.#state === "ended") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#tick(), this.#intervalMs);
    // A process is not kept alive by it. Workers and browsers have no such timers.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  async #tick(): Promise<void> {
    try {
      await this.heartbeat();
    } catch (error) {
      if (isUnknown(error)) this.#lose("unknown");
      else quietly(() => this.#options.onHeartbeatFailed?.(error));
    }
    this.beat();
  }

  /**
   * It runs without a decision. The same start is asked for until there is one; a denial ends it.
   */
  async #startLate(budget: CallBudget): Promise<undefined> {
    const decision = await this.start(budget);
    if (decision.allowed && this.#state === "ended") await this.#endLate();
    if (decision.allowed || this.#state === "ended") return;
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

  /** It has ended while its start was asked for. */
  async #endLate(): Promise<void> {
    this.#state = "running";
    await this.end();
  }

  #started(answer: StartSessionResponse): void {
    this.#intervalMs = positive(answer.heartbeatIntervalMs) ?? HEARTBEAT_MS;
    if (this.#state === "starting") this.#state = "running";
  }

  #heard(answer: HeartbeatResponse): SessionUse {
    this.#intervalMs = positive(answer.heartbeatIntervalMs) ?? this.#intervalMs;
    const quotaMs = answer.unlimited ? undefined : Number(answer.quotaMs);
    const use = {
      usedMs: Number(answer.usedMs),
      quotaMs,
      message: answer.message,
      upgradeUrl: answer.upgradeUrl,
    };
    if (answer.action === SessionAction.STOP)
      this.#stop({ ...use, graceMs: Number(answer.graceMs), why: "quota" });
    if (answer.action === SessionAction.WARN && answer.warnPercent > this.#warned) {
      this.#warned = answer.warnPercent;
      quietly(() => this.#options.onWarn?.({ ...use, percent: answer.warnPercent }, this));
    }
    if (answer.state === SessionState.EXPIRED) this.#lose("expired");
    if (answer.state === SessionState.ENDED) this.#lose("ended");
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

function isUnknown(error: unknown): boolean {
  return (
    (error as TollgateError | undefined)?.reason === "SESSION_UNKNOWN" &&
    !(error instanceof UnavailableError)
  );
}
