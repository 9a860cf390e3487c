/** What is asked without consuming anything: limits, budgets, whether a session could start. */
import type { CallBudget, Caller } from "./call.js";
import type { Limit } from "./decision.js";
import { DecisionCode, limitOf, positive } from "./decision.js";
import { scopesOf } from "./admission.js";
import type { Budget as BudgetMessage, BudgetPeriod } from "./gen/tollgate/v1/budget_pb.js";
import type { BatchStatusResult } from "./gen/tollgate/v1/session_pb.js";
import { requestId } from "./request_id.js";

/** A part of an org, or the org itself where `scope` is absent. */
export interface Where extends CallBudget {
  readonly scope?: string | readonly string[] | undefined;
}

/** Every limit of an org, and whether an Acquire of one execution would be allowed now. */
export interface Status {
  readonly org: string;
  readonly allowed: boolean;
  readonly code: DecisionCode;
  /** For people; empty where allowed. */
  readonly message: string;
  readonly limits: readonly Limit[];
  readonly frozen: boolean;
  readonly plan: string;
  /** Milliseconds; undefined = now, never, or not known. */
  readonly retryAfterMs: number | undefined;
  /** Nothing is kept of the org: it never executed, or its name was misspelled. */
  readonly unknown: boolean;
}

export async function status(caller: Caller, org: string, where: Where): Promise<Status> {
  const message = { org, scopes: [...scopesOf(where.scope)] };
  const answer = await caller.retried((call) => caller.raw.gate.getStatus(message, call), where);
  const { allowed, code, frozen, plan, unknown } = answer;
  const limits = answer.limits.map(limitOf);
  return {
    org: answer.org,
    allowed,
    code,
    message: answer.message,
    limits,
    frozen,
    plan,
    retryAfterMs: positive(answer.retryAfterMs),
    unknown,
  };
}

/** Whether a session could start now, for a button. */
export interface SessionStatus {
  readonly org: string;
  readonly canStart: boolean;
  readonly code: DecisionCode;
  /** What a user interface shows beside a disabled button; empty where a session can start. */
  readonly message: string;
  readonly upgradeUrl: string;
  readonly plan: string;
  /** Milliseconds of compute this month, or in the trial. */
  readonly usedMs: number;
  readonly reservedMs: number;
  /** undefined = unlimited. */
  readonly quotaMs: number | undefined;
  readonly sessions: number;
  /** undefined = unlimited. */
  readonly sessionsMax: number | undefined;
  readonly retryAfterMs: number | undefined;
}

/** Of one org of a batch, that could not be asked about. */
export interface ItemFailure {
  readonly org: string;
  /** As `TollgateError.reason`. */
  readonly reason: string;
  readonly message: string;
}

/** A status, or why there is none. */
export type SessionStatusResult =
  | { readonly ok: true; readonly status: SessionStatus }
  | { readonly ok: false; readonly failure: ItemFailure };

/** An org of a batch, or a part of it. */
export type BatchItem =
  string | { readonly org: string; readonly scope?: string | readonly string[] | undefined };

export async function batchStatus(
  caller: Caller,
  items: readonly BatchItem[],
  budget: CallBudget,
): Promise<SessionStatusResult[]> {
  const asked = items.map((item) => (typeof item === "string" ? { org: item } : item));
  const message = {
    items: asked.map((item) => ({
      org: item.org,
      scopes: [...scopesOf("scope" in item ? item.scope : undefined)],
    })),
  };
  const answer = await caller.retried(
    (call) => caller.raw.session.batchStatus(message, call),
    budget,
  );
  return answer.results.map((result, at) => sessionStatus(result, asked[at]?.org ?? ""));
}

function sessionStatus({ result }: BatchStatusResult, org: string): SessionStatusResult {
  if (result.case !== "status") {
    return {
      ok: false,
      failure: {
        org,
        reason: result.value?.reason ?? "",
        message: result.value?.message ?? "no answer",
      },
    };
  }
  const { canStart, code, message, upgradeUrl, plan, unlimited, sessionsUnlimited, ...rest } =
    result.value;
  const quotaMs = unlimited ? undefined : Number(rest.quotaMs);
  const sessionsMax = sessionsUnlimited ? undefined : Number(rest.sessionsMax);
  const used = { usedMs: Number(rest.usedMs), reservedMs: Number(rest.reservedMs), quotaMs };
  const counts = {
    sessions: Number(rest.sessions),
    sessionsMax,
    retryAfterMs: positive(rest.retryAfterMs),
  };
  return {
    ok: true,
    status: { org: rest.org, canStart, code, message, upgradeUrl, plan, ...used, ...counts },
  };
}

/** The rolling periods of a budget: trailing 1 h, 24 h, 7 d and 30 d. */
export type Period = "hourly" | "daily" | "weekly" | "monthly";

/** The limits on spend of an org or of one scope, in micro-USD: see `usd` and `formatUsd`. */
export interface Budget {
  readonly org: string;
  readonly scope: string;
  readonly periods: Readonly<Partial<Record<Period, BudgetPeriod>>>;
  /** One more with every change; for `expectedVersion`. */
  readonly version: bigint;
  /** Stored limits that cannot be understood; empty where all is well. */
  readonly malformed: readonly string[];
}

/** Of one scope, or of the org itself. */
export interface BudgetWhere extends CallBudget {
  readonly scope?: string | undefined;
}

export interface BudgetChange extends BudgetWhere {
  /** Refused with ABORTED (BUDGET_VERSION) unless the budget has this version. */
  readonly expectedVersion?: bigint | undefined;
  /** Why, for the log of the org: at most 256 printable characters. */
  readonly reason?: string | undefined;
}

/** Reads and sets budgets. Errors of all: `RefusedError`, `UnavailableError`. */
export class Budgets {
  readonly #caller: Caller;

  /** `budget` of a client is one. @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  async get(org: string, where: BudgetWhere = {}): Promise<Budget> {
    const message = { org, scope: where.scope ?? "" };
    return budgetOf(
      await this.#caller.retried((call) => this.#caller.raw.budget.getBudget(message, call), where),
    );
  }

  /**
   * Sets the periods that are named, in micro-USD (0 = block all), clears those that are `null`,
   * and keeps the others.
   */
  async update(
    org: string,
    limits: Readonly<Partial<Record<Period, bigint | null>>>,
    change: BudgetChange = {},
  ): Promise<Budget> {
    const periods = Object.fromEntries(
      Object.entries(limits).map(([period, limit]) => [
        period,
        limit === null ? { clear: true } : { limit },
      ]),
    );
    const message = { ...this.#change(org, change), periods };
    return budgetOf(
      await this.#caller.retried(
        (call) => this.#caller.raw.budget.updateBudget(message, call),
        change,
      ),
    );
  }

  /** Sets the periods that are named and clears the others. */
  async replace(
    org: string,
    limits: Readonly<Partial<Record<Period, bigint>>>,
    change: BudgetChange = {},
  ): Promise<Budget> {
    const message = { ...this.#change(org, change), limits };
    return budgetOf(
      await this.#caller.retried(
        (call) => this.#caller.raw.budget.replaceBudget(message, call),
        change,
      ),
    );
  }

  #change(org: string, change: BudgetChange) {
    const { scope = "", reason = "", expectedVersion } = change;
    return {
      org,
      scope,
      requestId: requestId(),
      reason,
      ...(expectedVersion === undefined ? {} : { expectedVersion }),
    };
  }
}

function budgetOf({ budget }: { budget?: BudgetMessage | undefined }): Budget {
  const { org = "", scope = "", periods = {}, version = 0n, malformed = [] } = budget ?? {};
  return { org, scope, periods, version, malformed };
}
