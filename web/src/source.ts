// What a screen shows: the last answer to a question that is asked again and again while somebody sees the page.
import { ConnectError } from "@connectrpc/connect";
import { effect, signal, type Signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { away, call, sentence } from "./api";
import { current } from "./time";
import type { CallOptions } from "@connectrpc/connect";

/** Of the time between two questions at most this part is spent on answers: large fleets are asked less often. */
const BUSY = 0.1;
/** The same where something has happened meanwhile; and how soon it is asked then. */
const BUSY_AT_ONCE = 0.3;
const AT_ONCE = 150;
/** After an answer that is an error. */
const AFTER_ERROR = 5000;
/** At once after one, so that a node that answers some questions and others not is not asked without end. */
const AFTER_MISS = 2000;
/** Answers of screens that were left, by their question: shown at once, greyed, until there is a newer one. */
const remembered = new Map<string, { data: unknown; at: number }>();
const MOST = 50;

/** Questions that were not answered once since they are asked: a screen is shown when there is none. */
export const pending = signal(0);

export class Source<T> {
  readonly data: Signal<T | undefined>;
  /** When the last answer came, by the node's time; 0 = there is none. */
  readonly at: Signal<number>;
  /** Of the last question. */
  readonly error = signal<{ text: string; thrown: ConnectError } | undefined>(undefined);
  /** The answer was there before the screen was. */
  readonly old: Signal<boolean>;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asking: AbortController | undefined;
  private again = false;
  private stopped = true;
  private ended = 0;
  /** By the last question that was answered: one that was not says nothing of what an answer costs the node. */
  private took = 0;
  private unwatch = () => {};
  private isFirst = false;

  constructor(
    private readonly key: string,
    private readonly question: (options: CallOptions) => Promise<T>,
    private readonly every: number,
  ) {
    const kept = remembered.get(key);
    this.data = signal(kept?.data as T | undefined);
    this.at = signal(kept?.at ?? 0);
    this.old = signal(kept !== undefined);
  }

  start(): void {
    this.stopped = false;
    this.isFirst = true;
    pending.value += 1;
    document.addEventListener("visibilitychange", this.seen);
    let wasAway = away.peek() !== undefined;
    this.unwatch = effect(() => {
      const isBack = wasAway && !away.value;
      wasAway = away.value !== undefined;
      if (isBack) this.refresh();
    });
    void this.ask();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
    this.unwatch();
    this.asking?.abort();
    this.answeredOnce();
  }

  private answeredOnce(): void {
    if (this.isFirst) pending.value -= 1;
    this.isFirst = false;
  }

  private readonly seen = () => {
    if (!document.hidden && !this.asking) void this.ask();
  };

  /** Asks at once, or once more where it is being asked; as often as it is called, not much more of the node is asked for it. */
  refresh = (): void => {
    if (this.stopped) return;
    if (this.asking) {
      this.again = true;
      return;
    }
    clearTimeout(this.timer);
    const rest = this.ended + (this.error.peek() ? AFTER_MISS : this.took / BUSY_AT_ONCE) - performance.now();
    this.timer = setTimeout(() => void this.ask(), Math.max(rest, AT_ONCE));
  };

  private async ask(): Promise<void> {
    clearTimeout(this.timer);
    const began = performance.now();
    this.asking = new AbortController();
    const { signal } = this.asking;
    try {
      const data = await call((options) => this.question(options), signal);
      if (signal.aborted) return;
      this.data.value = data;
      this.at.value = current();
      this.took = performance.now() - began;
      this.old.value = false;
      if (this.error.peek()) this.error.value = undefined;
      remembered.delete(this.key);
      remembered.set(this.key, { data, at: this.at.peek() });
      if (remembered.size > MOST) remembered.delete(remembered.keys().next().value ?? "");
    } catch (thrown) {
      if (signal.aborted) return;
      const error = ConnectError.from(thrown);
      if (this.error.peek()?.text !== sentence(error)) this.error.value = { text: sentence(error), thrown: error };
    } finally {
      if (!signal.aborted) {
        this.asking = undefined;
        this.answeredOnce();
      }
    }
    if (this.stopped) return;
    this.ended = performance.now();
    if (this.again) {
      this.again = false;
      this.refresh();
      return;
    }
    this.timer = setTimeout(() => {
      if (!document.hidden) void this.ask();
    }, Math.max(this.every, this.took / BUSY, this.error.peek() && !away.peek() ? AFTER_ERROR : 0));
  }
}

/** A question of a component, asked as long as it is there. Another key is another question. */
export function useSource<T>(key: string, every: number, question: (options: CallOptions) => Promise<T>): Source<T> {
  const source = useMemo(() => new Source(key, question, every), [key]);
  useEffect(() => {
    source.start();
    return () => source.stop();
  }, [source]);
  return source;
}

/** Forgets what was shown: another caller may see other things. */
export function forget(): void {
  remembered.clear();
}
