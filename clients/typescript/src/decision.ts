/**
 * Decisions as a union: `allowed` says which of the two, `code` which denial. Made of the messages
 * of the protos, with what is absent as `undefined`, times as `Date` and lengths as milliseconds.
 */
import type { Limit as LimitMessage } from "./gen/tollgate/v1/gate_pb.js";
import { DecisionCode, LimitSource } from "./gen/tollgate/v1/gate_pb.js";

export { DecisionCode, LimitSource };

/** One limit as it is after the decision. Amounts are in the unit of `meter`. */
export interface Limit {
  /** `rate`, `sessions`, `budget/hourly`, `quota/executions`, … */
  readonly name: string;
  /** The scope it belongs to; empty is the org itself. */
  readonly scope: string;
  /** What is counted; the backstop counts `calls`. */
  readonly meter: string;
  /** `aligned/1h`, `rolling/30d`, `calendar/month`, … */
  readonly window: string;
  /** undefined = unlimited. */
  readonly amount: bigint | undefined;
  readonly used: bigint;
  readonly reserved: bigint;
  /** May be negative; undefined = unlimited. */
  readonly remaining: bigint | undefined;
  /** When what was asked fits again, or the window ends; undefined = never, or not known. */
  readonly resetsAt: Date | undefined;
  /** Milliseconds from the answer to `resetsAt`. */
  readonly resetsInMs: number | undefined;
  readonly exhausted: boolean;
  /** This limit denied the call. */
  readonly limiting: boolean;
  /** Evaluated and reported, never denying. */
  readonly shadow: boolean;
  readonly source: LimitSource;
}

/**
 * A gate of tollgate that was let through without having been evaluated, by the policy of its
 * operator.
 */
export interface UnevaluatedGate {
  /** `rate`, `balance`, … */
  readonly gate: string;
  /** `store_fault`, `timeout`, `provider_error`, … */
  readonly cause: string;
}

/** What is held until it is committed, released, or expires. */
export interface HoldTerms {
  readonly reservationId: string;
  /** By the clock of the node; later where the node was away. */
  readonly expiresAt: Date;
  /** Milliseconds from the answer on. */
  readonly remainingMs: number;
}

interface Decided {
  /** Names this decision; unique. Empty for a check that consumes nothing. */
  readonly decisionId: string;
  /** For people; empty where allowed and there is nothing to say. */
  readonly message: string;
  /** In the order of the pipeline, the backstop first. */
  readonly limits: readonly Limit[];
  readonly unevaluated: readonly UnevaluatedGate[];
  /** The node that decided. */
  readonly node: string;
}

/** The call may execute, and is charged. */
export interface Allowed extends Decided {
  readonly allowed: true;
  /** ALLOWED; with a shadow call, what it would have been denied for. */
  readonly code: DecisionCode;
  /** The request id was answered before; nothing was charged again. */
  readonly replayed: boolean;
  /** Where `reserve` was asked for. */
  readonly hold: HoldTerms | undefined;
}

/**
 * Every code of a denial. UNSPECIFIED stands for one that this version of the package does not
 * know.
 */
export type DenialCode = Exclude<DecisionCode, DecisionCode.ALLOWED>;

interface Denied<C extends DenialCode> extends Decided {
  readonly allowed: false;
  readonly code: C;
  /** The name of `code` for logs: `RATE_LIMITED`. */
  readonly codeName: keyof typeof DecisionCode;
  /** The limits that denied; empty where none did, as for FROZEN. */
  readonly limiting: readonly Limit[];
  /**
   * Milliseconds after which the call fits if nothing else happens; undefined = never, or nobody
   * knows.
   */
  readonly retryAfterMs: number | undefined;
  /** The HTTP status to show: 402, 403, 429 or 503. */
  readonly httpStatus: number;
  /**
   * Where more can be had; empty where nothing is configured. Of sessions only; elsewhere
   * `message` names it.
   */
  readonly upgradeUrl: string;
}

/** The call may not execute. `switch (denial.code)` over `DecisionCode` is exhaustive. */
export type Denial = { [C in DenialCode]: Denied<C> }[DenialCode];

/** What tollgate decided. */
export type Decision = Allowed | Denial;

/** What answers of Acquire and StartSession have in common. */
interface DecisionMessage {
  readonly allowed: boolean;
  readonly code: DecisionCode;
  readonly message: string;
  readonly decisionId: string;
  readonly limits: readonly LimitMessage[];
  readonly retryAfterMs: bigint;
  readonly httpStatusHint: number;
  readonly failOpen: readonly UnevaluatedGate[];
  readonly replayed: boolean;
  readonly node: string;
  readonly reservationId?: string;
  readonly reservationExpiresAtMs?: bigint;
  readonly reservationRemainingMs?: bigint;
  readonly upgradeUrl?: string;
}

/** A message as a decision. `allowed = false` is a denial, whatever else the message says. */
export function decisionOf(message: DecisionMessage): Decision {
  const limits = message.limits.map(limitOf);
  const decided: Decided = {
    decisionId: message.decisionId,
    message: message.message,
    limits,
    unevaluated: message.failOpen.map(({ gate, cause }) => ({ gate, cause })),
    node: message.node,
  };
  if (message.allowed) {
    return {
      ...decided,
      allowed: true,
      code: message.code,
      replayed: message.replayed,
      hold: holdOf(message),
    };
  }
  const code = denialCode(message.code);
  return {
    ...decided,
    allowed: false,
    code,
    codeName: DecisionCode[code] as keyof typeof DecisionCode,
    limiting: limits.filter((limit) => limit.limiting),
    retryAfterMs: positive(message.retryAfterMs),
    httpStatus: message.httpStatusHint >= 400 ? message.httpStatusHint : 503,
    upgradeUrl: message.upgradeUrl ?? "",
  } as Denial;
}

function denialCode(code: DecisionCode): DenialCode {
  return code !== DecisionCode.ALLOWED && code in DecisionCode ? code : DecisionCode.UNSPECIFIED;
}

function holdOf(message: DecisionMessage): HoldTerms | undefined {
  if (!message.reservationId) return undefined;
  return {
    reservationId: message.reservationId,
    expiresAt: new Date(Number(message.reservationExpiresAtMs ?? 0n)),
    remainingMs: Number(message.reservationRemainingMs ?? 0n),
  };
}

/** A limit of a message. */
export function limitOf(message: LimitMessage): Limit {
  return {
    name: message.name,
    scope: message.scope,
    meter: message.meter,
    window: message.window,
    amount: message.unlimited ? undefined : message.amount,
    used: message.used,
    reserved: message.reserved,
    remaining: message.unlimited ? undefined : message.remaining,
    resetsAt: dateOf(message.resetsAtMs),
    resetsInMs: positive(message.resetsInMs),
    exhausted: message.exhausted,
    limiting: message.limiting,
    shadow: message.shadow,
    source: message.source,
  };
}

/** 0 is absent. */
export function positive(milliseconds: bigint): number | undefined {
  return milliseconds > 0n ? Number(milliseconds) : undefined;
}

function dateOf(milliseconds: bigint): Date | undefined {
  return milliseconds > 0n ? new Date(Number(milliseconds)) : undefined;
}

/**
 * A denial as the answer of an HTTP plane: its status, `retry-after` in seconds, and JSON for
 * people and programs.
 */
export function denialResponse(denial: Denial): Response {
  const headers = new Headers({
    "content-type": "application/json",
    "cache-control": "no-store",
  });
  if (denial.retryAfterMs !== undefined)
    headers.set("retry-after", String(Math.ceil(denial.retryAfterMs / 1000)));
  const body = {
    error: denial.codeName,
    message: denial.message,
    retryAfterMs: denial.retryAfterMs ?? null,
    upgradeUrl: denial.upgradeUrl || null,
    decisionId: denial.decisionId,
  };
  return new Response(JSON.stringify(body), { status: denial.httpStatus, headers });
}
