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
import { quietly } from "./settlement.js";

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
    | string
    | readonly string[]
    | ((call: GatedCall) => string | readonly string[] | undefined)
    | undefined;
  /** As in `guard`, of every execution. */
  readonly guard?: Omit<GuardOptions, "scope" | "pausable"> | undefined;
  /**
   * The name of a paused execution, by what `executeWithPause` or `resume` returned; undefined
   * where it has not paused. Default: of a result with `status: "paused"`, its `executionId`,
   * `execution.id` or `id`.
   */
  readonly pausedId?: ((result: R) => string | undefined) | undefined;
  /** The same name in the arguments of `resume`. Default: the first one, or its `executionId`. */
  readonly resumedId?: ((args: readonly unknown[]) => string) | undefined;
  /**
   * Whether what it returned is a failure, so that it is not completed. Default: what it returns
   * is a success.
   */
  readonly isFailure?: ((result: R) => boolean) | undefined;
  /**
   * What to return for a denial, in the form of the executor's own failures. Default:
   * `DeniedError` is thrown.
   */
  readonly onDenied?: ((denial: Denial, call: GatedCall) => R) | undefined;
  /** Default: in memory, the last 10 000. */
  readonly tickets?: TicketStore | undefined;
  /**
   * Called where `tickets` has failed. That stops no execution: without its ticket a continuation is
   * counted and not completed, and what could not be kept is settled as far as it has come.
   */
  readonly onTicketsFailed?: ((error: unknown, executionId: string) => void) | undefined;
}

/**
 * How many paused executions are kept in memory; the oldest are forgotten, and so not completed
 * when they end.
 */
const TICKETS = 10_000;

/** The same executor with the gate in front: what is gated returns promises. */
export type Gated<E> = 0 extends 1 & E
  ? any
  : { [Name in keyof E]: Name extends keyof Executor ? Promising<E[Name]> : E[Name] };

type Promising<Method> = Method extends (...args: infer Args) => infer R
  ? (...args: Args) => Promise<Awaited<R>>
  : Method;

/** The same executor with the gate in front. */
export function gated<E extends Executor>(
  executor: E,
  tg: Tollgate,
  options: GatedOptions<ResultOf<E>>,
): Gated<E> {
  const gate = new ExecutorGate(executor, tg, options as GatedOptions);
  // An object of its own, because what a proxy of a frozen object returns has to be what that has.
  return new Proxy(Object.create(executor) as Gated<E>, {
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
    const name = typeof org === "function" ? org(call) : org;
    const guarded = await this.#tg.guard(name, asked, (execution) => this.#run(call, execution));
    if (guarded.allowed) return guarded.value.result;
    if (onDenied) return onDenied(guarded.denial, call);
    throw new DeniedError(guarded.denial);
  }

  async resume(call: GatedCall): Promise<unknown> {
    const id = (this.#options.resumedId ?? resumedId)(call.args);
    const ticket =
      (await this.#stored(id, () => this.#tickets.get(id))) ?? this.#stranger(call, id);
    const { completeOn, waitUntil, signal, budgetMs } = this.#options.guard ?? {};
    let keptAs: string | undefined;
    try {
      const resuming = { completeOn, waitUntil, signal, budgetMs };
      const ran = await this.#tg.resume(ticket, resuming, (execution) =>
        this.#run(call, execution),
      );
      keptAs = ran.keptAs;
      return ran.result;
    } catch (error) {
      // Of one that has thrown nothing says that it has ended: the executor may be asked to
      // continue it again.
      if (completeOn !== "always") keptAs = id;
      throw error;
    } finally {
      if (keptAs !== id) await this.#stored(id, () => this.#tickets.delete(id));
    }
  }

  async #run(call: GatedCall, execution: Execution): Promise<Ran> {
    const method = this.#executor[call.method] as (...args: unknown[]) => unknown;
    const result = await method.apply(this.#executor, [...call.args]);
    const paused = this.#pausedId(call, result);
    if (paused === undefined) {
      if (this.#options.isFailure?.(result)) execution.failed();
      return { result, keptAs: undefined };
    }
    const keeping = async (): Promise<string> => {
      await this.#tickets.set(paused, execution.pause());
      return paused;
    };
    const keptAs = await this.#stored(paused, keeping);
    if (keptAs === undefined) execution.failed();
    return { result, keptAs };
  }

  /** Of a store that fails nothing is known, and no execution ends because of it. */
  async #stored<T>(executionId: string, use: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await use();
    } catch (error) {
      quietly(() => this.#options.onTicketsFailed?.(error, executionId));
      return undefined;
    }
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

/** What the executor has returned, and under which name its ticket is kept. */
interface Ran {
  readonly result: unknown;
  readonly keptAs: string | undefined;
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
