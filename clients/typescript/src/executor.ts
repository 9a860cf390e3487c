/**
 * An executor of code with a gate in front: `execute` and `executeWithPause` ask before they run,
 * `resume` is counted and never denied, and what has completed is completed at tollgate, also when
 * it pauses in between.
 */
import type { Denial } from "./decision.js";
import { DeniedError } from "./errors.js";
import type { Execution, Ticket } from "./execution.js";
import type { GuardOptions } from "./guard.js";
import type { Tollgate } from "./client.js";

/** What an executor has of these is gated; everything else of it is as before. */
export interface Executor {
  execute?(...args: never[]): unknown;
  executeWithPause?(...args: never[]): unknown;
  resume?(...args: never[]): unknown;
}

/**
 * Where tickets of paused executions are kept. `Map` is one; so is a store that outlives the
 * process.
 */
export interface TicketStore {
  get(executionId: string): Ticket | undefined | Promise<Ticket | undefined>;
  set(executionId: string, ticket: Ticket): unknown;
  delete(executionId: string): unknown;
}

/** What is known of one call of the executor. */
export interface GatedCall {
  readonly method: "execute" | "executeWithPause" | "resume";
  readonly args: readonly unknown[];
}

/** What its methods return, sooner or later. */
export type ResultOf<E> = 0 extends 1 & E
  ? any
  : MethodResult<E, "execute"> | MethodResult<E, "executeWithPause"> | MethodResult<E, "resume">;

type MethodResult<E, Method> = Method extends keyof E
  ? E[Method] extends (...args: never[]) => infer R
    ? Awaited<R>
    : never
  : never;

export interface GatedOptions<R = unknown> {
  /** Whose execution it is. */
  readonly org: string | ((call: GatedCall) => string);
  readonly scope?:
    string | readonly string[] | ((call: GatedCall) => string | readonly string[] | undefined);
  /** As in `guard`, of every execution. */
  readonly guard?: Omit<GuardOptions, "scope" | "pausable">;
  /**
   * The name of a paused execution, by what `executeWithPause` or `resume` returned; undefined
   * where it has not paused. Default: of a result with `status: "paused"`, its `executionId`,
   * `execution.id` or `id`.
   */
  readonly pausedId?: (result: R) => string | undefined;
  /** The same name in the arguments of `resume`. Default: the first one, or its `executionId`. */
  readonly resumedId?: (args: readonly unknown[]) => string;
  /**
   * Whether what it returned is a failure, so that it is not completed. Default: what it returns
   * is a success.
   */
  readonly isFailure?: (result: R) => boolean;
  /**
   * What to return for a denial, in the form of the executor's own failures. Default:
   * `DeniedError` is thrown.
   */
  readonly onDenied?: (denial: Denial, call: GatedCall) => R;
  /** Default: in memory, the last 10 000. */
  readonly tickets?: TicketStore;
}

/**
 * How many paused executions are kept in memory; the oldest are forgotten, and so not completed
 * when they end.
 */
const TICKETS = 10_000;

/** The same executor with the gate in front. Its methods return promises. */
export function gated<E extends Executor>(
  executor: E,
  tg: Tollgate,
  options: GatedOptions<ResultOf<E>>,
): E {
  const gate = new ExecutorGate(executor, tg, options as GatedOptions);
  // An object of its own, because what a proxy of a frozen object returns has to be what that has.
  return new Proxy(Object.create(executor) as E, {
    set: (_, name, value) => Reflect.set(executor, name, value, executor),
    get(_, name) {
      const value: unknown = Reflect.get(executor, name, executor);
      if (typeof value !== "function") return value;
      if (name === "execute" || name === "executeWithPause")
        return (...args: unknown[]) => gate.begin({ method: name, args });
      if (name === "resume") return (...args: unknown[]) => gate.resume({ method: name, args });
      // Of its own object, so that private fields are found, and what it calls of itself is
      // not charged again.
      return value.bind(executor);
    },
  });
}

class ExecutorGate {
  readonly #executor: Executor;
  readonly #tg: Tollgate;
  readonly #options: GatedOptions;
  readonly #tickets: TicketStore;

  constructor(executor: Executor, tg: Tollgate, options: GatedOptions) {
    this.#executor = executor;
    this.#tg = tg;
    this.#options = options;
    this.#tickets = options.tickets ?? new BoundedTickets();
  }

  async begin(call: GatedCall): Promise<unknown> {
    const { org, scope, guard, onDenied } = this.#options;
    const where = typeof scope === "function" ? scope(call) : scope;
    const asked = {
      ...guard,
      pausable: call.method === "executeWithPause",
      ...(where === undefined ? {} : { scope: where }),
    };
    const guarded = await this.#tg
      .guard(typeof org === "function" ? org(call) : org, asked, (execution) =>
        this.#run(call, execution),
      )
      .catch(returned);
    if (guarded.allowed) return guarded.value;
    if (onDenied) return onDenied(guarded.denial, call);
    throw new DeniedError(guarded.denial);
  }

  async resume(call: GatedCall): Promise<unknown> {
    const id = (this.#options.resumedId ?? resumedId)(call.args);
    const ticket = (await this.#tickets.get(id)) ?? this.#stranger(call, id);
    const { completeOn, waitUntil, signal, budgetMs } = this.#options.guard ?? {};
    const given = Object.entries({ completeOn, waitUntil, signal, budgetMs }).filter(
      ([, value]) => value !== undefined,
    );
    try {
      const value = await this.#tg.resume(ticket, Object.fromEntries(given), (execution) =>
        this.#run(call, execution),
      );
      if (this.#pausedId(call, value) !== id) await this.#tickets.delete(id);
      return value;
    } catch (error) {
      // Of one that has thrown nothing says that it has ended: the executor may be asked to
      // continue it again.
      const { value } = returned(error);
      await this.#tickets.delete(id);
      return value;
    }
  }

  async #run(call: GatedCall, execution: Execution): Promise<unknown> {
    const method = this.#executor[call.method] as (...args: unknown[]) => unknown;
    const result = await method.apply(this.#executor, [...call.args]);
    const paused = this.#pausedId(call, result);
    if (paused !== undefined) await this.#tickets.set(paused, execution.pause());
    else if (this.#options.isFailure?.(result)) throw new Returned(result);
    return result;
  }

  #pausedId(call: GatedCall, result: unknown): string | undefined {
    return call.method === "execute" ? undefined : (this.#options.pausedId ?? pausedId)(result);
  }

  /**
   * Of an execution that another process admitted, the name is all that is known: it is counted,
   * and not completed.
   */
  #stranger(call: GatedCall, executionId: string): Ticket {
    const { org } = this.#options;
    const none = { scope: [], decisionId: "", reservationId: "", reserved: {}, used: {} };
    return { org: typeof org === "function" ? org(call) : org, executionId, ...none };
  }
}

/** A failure that an executor has returned, on its way through the settlement. */
class Returned extends Error {
  readonly value: unknown;

  constructor(value: unknown) {
    super("a failure that was returned");
    this.value = value;
  }
}

function returned(error: unknown): { allowed: true; value: unknown } {
  if (error instanceof Returned) return { allowed: true, value: error.value };
  throw error;
}

function pausedId(result: unknown): string | undefined {
  const paused = result as
    | { status?: unknown; executionId?: unknown; execution?: { id?: unknown }; id?: unknown }
    | null
    | undefined;
  if (paused?.status !== "paused") return undefined;
  const id = paused.executionId ?? paused.execution?.id ?? paused.id;
  return typeof id === "string" ? id : undefined;
}

function resumedId(args: readonly unknown[]): string {
  const [first] = args;
  const id =
    typeof first === "string"
      ? first
      : (first as { executionId?: unknown } | undefined)?.executionId;
  if (typeof id !== "string")
    throw new TypeError(
      "resume: the name of the execution is not in its first argument: give `resumedId`",
    );
  return id;
}

class BoundedTickets extends Map<string, Ticket> implements TicketStore {
  override set(executionId: string, ticket: Ticket): this {
    const [oldest] = this.keys();
    if (this.size >= TICKETS && oldest !== undefined && !this.has(executionId)) this.delete(oldest);
    return super.set(executionId, ticket);
  }
}
