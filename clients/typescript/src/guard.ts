/** Acquire, run, settle. */
import type { AcquireOptions, Admission, PolicyOptions } from "./admission.js";
import { acquire, admit, askedOf } from "./admission.js";
import type { Caller } from "./call.js";
import type { Denial } from "./decision.js";
import { DeniedError } from "./errors.js";
import type { CompleteOn, Ticket } from "./execution.js";
import { Execution } from "./execution.js";
import { requestId } from "./request_id.js";
import type { Settlements, WaitUntil } from "./settlement.js";
import { quietly } from "./settlement.js";

export interface GuardOptions extends AcquireOptions, PolicyOptions {
  /**
   * Whether an execution that failed is completed as well, and so reported to billing. Default
   * `success`: it is completed where it succeeded, and where it said what it used. `always`: an
   * error ends it for good, also where it could be tried again.
   */
  readonly completeOn?: CompleteOn | undefined;
  /** Instead of that of the client. */
  readonly waitUntil?: WaitUntil | undefined;
}

/** What became of a guarded execution: it ran and has a value, or it was denied and did not run. */
export type Guarded<T> =
  | { readonly allowed: true; readonly value: T; readonly admission: Admission }
  | { readonly allowed: false; readonly denial: Denial };

/** The value, or a `DeniedError`. */
export function orThrow<T>(guarded: Guarded<T>): T {
  if (!guarded.allowed) throw new DeniedError(guarded.denial);
  return guarded.value;
}

/** The code that runs. */
export type Run<T> = (execution: Execution) => T | Promise<T>;

export async function guard<T>(
  caller: Caller,
  settlements: Settlements,
  org: string,
  options: GuardOptions,
  run: Run<T>,
): Promise<Guarded<T>> {
  const asked = askedOf(org, options);
  const admission = await admit(caller, asked, options.onUnavailable, () =>
    acquire(caller, settlements, asked, options),
  );
  if ("allowed" in admission) return { allowed: false, denial: admission };
  const about = { reserve: options.reserve, hasOwnId: options.requestId !== undefined };
  const execution = Execution.admitted(caller, asked, admission, about);
  const value = await settled(settlements, execution, options, run);
  return { allowed: true, value, admission };
}

/** Options of `resume`. */
export interface ResumeOptions extends Pick<
  GuardOptions,
  "completeOn" | "waitUntil" | "signal" | "budgetMs"
> {}

/** Runs in any case. It is counted meanwhile, so that it does not wait. */
export async function resume<T>(
  caller: Caller,
  settlements: Settlements,
  ticket: Ticket,
  options: ResumeOptions,
  run: Run<T>,
): Promise<T> {
  const execution = Execution.resumed(caller, ticket);
  const counting = count(caller, ticket.org, ticket.executionId, options);
  const counted = settlements.underWay(counting, options.waitUntil);
  try {
    return await settled(settlements, execution, options, run);
  } finally {
    await counted;
  }
}

/**
 * Counts one continuation; false where it could not be counted. Never fails: a continuation is not
 * denied.
 */
export async function count(
  caller: Caller,
  org: string,
  executionId: string,
  options: ResumeOptions = {},
): Promise<boolean> {
  const { stats, settings } = caller;
  const message = { org, executionId, requestId: requestId() };
  stats.resumed += 1;
  try {
    const answer = await caller.guarded((call) => caller.raw.gate.resume(message, call), options);
    if (answer.counted) return true;
  } catch (error) {
    quietly(() => settings.onResumeUncounted?.({ org, executionId, error }));
  }
  stats.resumedUncounted += 1;
  return false;
}

async function settled<T>(
  settlements: Settlements,
  execution: Execution,
  options: ResumeOptions,
  run: Run<T>,
): Promise<T> {
  const settle = async (succeeded: boolean): Promise<void> => {
    const settlement = execution.settlement(succeeded, options.completeOn ?? "success");
    if (settlement) await settlements.settle(settlement, options.waitUntil);
  };
  let value: T;
  try {
    value = await run(execution);
  } catch (error) {
    await settle(false);
    throw error;
  }
  await settle(true);
  return value;
}
