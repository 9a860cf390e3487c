// Events as they happen: one stream for the whole page, opened again where it ended.
import { Code, ConnectError } from "@connectrpc/connect";
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Event } from "@gen/admin/v1/events_pb.js";
import { admin, answered, isAway, missed } from "./api";

/** Events that the page remembers, the newest first. */
const MOST = 1000;
const AGAIN = 1000;
const AGAIN_MOST = 15_000;
/** A stream says that it lives every 10 seconds. */
const SILENT = 25_000;

export const events = signal<Event[]>([]);
/** Whether the stream is open, and what the node cannot read for it. */
export const live = signal<{ open: boolean; trouble: string }>({ open: false, trouble: "" });

const listeners = new Set<(event: Event) => void>();
const seen = new Set<string>();
let reading: AbortController | undefined;
let upTo = 0n;

function take(event: Event): void {
  const key = `${event.org}\n${event.node}\n${event.number}\n${event.atMs}`;
  if (seen.has(key)) return;
  seen.add(key);
  // What has happened before comes org by org.
  const all = events.peek();
  const place = all.findIndex((each) => each.atMs <= event.atMs);
  events.value = (place < 0 ? [...all, event] : all.toSpliced(place, 0, event)).slice(0, MOST);
  if (seen.size > 4 * MOST) {
    seen.clear();
    for (const kept of events.peek()) seen.add(`${kept.org}\n${kept.node}\n${kept.number}\n${kept.atMs}`);
  }
  for (const listener of listeners) listener(event);
}

async function read(stop: AbortController): Promise<void> {
  let pause = AGAIN;
  while (!stop.signal.aborted) {
    const attempt = new AbortController();
    const ended = () => attempt.abort();
    stop.signal.addEventListener("abort", ended);
    let silence = setTimeout(ended, SILENT);
    try {
      // What happened within the last minutes is there at once.
      const sinceMs = upTo || BigInt(Date.now() - 10 * 60_000);
      for await (const { what } of admin.watchEvents({ sinceMs }, { signal: attempt.signal })) {
        clearTimeout(silence);
        silence = setTimeout(ended, SILENT);
        pause = AGAIN;
        const trouble = what.case === "heartbeat" ? what.value.trouble : live.peek().trouble;
        if (!live.peek().open || live.peek().trouble !== trouble) live.value = { open: true, trouble };
        answered();
        if (what.case === "heartbeat" && what.value.atMs > upTo) upTo = what.value.atMs;
        if (what.case === "event") take(what.value);
      }
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      if (!stop.signal.aborted && !attempt.signal.aborted && isAway(error)) missed(error);
      if (error.code === Code.Unauthenticated || error.code === Code.PermissionDenied) pause = AGAIN_MOST;
    } finally {
      clearTimeout(silence);
      stop.signal.removeEventListener("abort", ended);
    }
    if (live.peek().open) live.value = { open: false, trouble: "" };
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, AGAIN_MOST);
  }
}

/** Begins with a login, and ends with it. */
export function open(): void {
  if (reading) return;
  reading = new AbortController();
  void read(reading);
}

export function close(): void {
  reading?.abort();
  reading = undefined;
  upTo = 0n;
  seen.clear();
  events.value = [];
  live.value = { open: false, trouble: "" };
}

/** Calls `heard` for each event that comes, as long as the component is there. */
export function useEvents(heard: (event: Event) => void, on: unknown[]): void {
  useEffect(() => {
    listeners.add(heard);
    return () => void listeners.delete(heard);
  }, on);
}
