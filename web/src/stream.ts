// Events as they happen: one stream for all windows of a login. A browser has few connections to a node, so one window that
// somebody sees holds it and tells the others; it is opened again where it ended, from the last number on.
import { Code, ConnectError } from "@connectrpc/connect";
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Event } from "@gen/admin/v1/events_pb.js";
import { admin, answered, authorization, isAway, missed } from "./api";
import { current } from "./time";

/** Events that the page remembers, the newest first. */
const MOST = 1000;
const AGAIN = 1000;
const AGAIN_MOST = 15_000;
/** A stream says that it lives every 10 seconds. */
const SILENT = 25_000;
/** Events are shown together that come within so long. */
const TOGETHER = 50;
/** A window that nobody sees for so long has no stream. */
const HIDDEN = 5000;

export const events = signal<Event[]>([]);
/** Whether the stream is open, and what the node cannot read for it. */
export const live = signal<{ open: boolean; trouble: string }>({ open: false, trouble: "" });

/** What the window that has the stream tells the others; `isNew` is said by one that wants to know it. */
type Told = { isNew?: true; events?: Event[]; upTo?: bigint; live?: { open: boolean; trouble: string } };

const listeners = new Set<(event: Event) => void>();
const seen = new Set<string>();
let isOpen = false;
let following: AbortController | undefined;
let leaving: ReturnType<typeof setTimeout> | undefined;
let upTo = 0n;

const keyOf = (event: Event) => `${event.org}\n${event.node}\n${event.number}\n${event.atMs}`;

function take(heard: Event[]): void {
  const added = heard.filter((event) => !seen.has(keyOf(event)) && seen.add(keyOf(event)));
  if (added.length === 0) return;
  // What has happened before comes org by org.
  events.value = [...added.toReversed(), ...events.peek()].sort((a, b) => Number(b.atMs - a.atMs)).slice(0, MOST);
  if (seen.size > 4 * MOST) {
    seen.clear();
    for (const kept of events.peek()) seen.add(keyOf(kept));
  }
  for (const event of added) for (const listener of listeners) listener(event);
}

function hear(told: Told): void {
  if (told.upTo && told.upTo > upTo) upTo = told.upTo;
  if (told.live && (told.live.open !== live.peek().open || told.live.trouble !== live.peek().trouble)) live.value = told.live;
  if (told.events) take(told.events);
}

async function read(stop: AbortSignal, tell: (told: Told) => void): Promise<void> {
  const hearAndTell = (told: Told) => {
    hear(told);
    tell(told);
  };
  // Of a large fleet thousands come at once.
  let waiting: Event[] = [];
  const passOn = () => {
    if (!stop.aborted) hearAndTell({ events: waiting });
    waiting = [];
  };
  let pause = AGAIN;
  while (!stop.aborted) {
    const attempt = new AbortController();
    const ended = () => attempt.abort();
    stop.addEventListener("abort", ended);
    let silence = setTimeout(ended, SILENT);
    try {
      // What happened within the last minutes is there at once.
      const sinceMs = upTo || BigInt(Math.round(current()) - 10 * 60_000);
      for await (const { what } of admin.watchEvents({ sinceMs }, { signal: attempt.signal })) {
        clearTimeout(silence);
        silence = setTimeout(ended, SILENT);
        pause = AGAIN;
        answered();
        if (what.case === "event" && waiting.push(what.value) === 1) setTimeout(passOn, TOGETHER);
        const isLive = { open: true, trouble: what.case === "heartbeat" ? what.value.trouble : live.peek().trouble };
        if (what.case === "heartbeat") hearAndTell({ live: isLive, upTo: what.value.atMs });
        else if (!live.peek().open) hearAndTell({ live: isLive });
      }
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      if (!stop.aborted && !attempt.signal.aborted && isAway(error)) missed(error);
      if (error.code === Code.Unauthenticated || error.code === Code.PermissionDenied) pause = AGAIN_MOST;
    } finally {
      clearTimeout(silence);
      stop.removeEventListener("abort", ended);
    }
    if (stop.aborted) return;
    hearAndTell({ live: { open: false, trouble: "" } });
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pause);
      stop.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
    pause = Math.min(pause * 2, AGAIN_MOST);
  }
}

/** Has the stream, or what the window tells that has it: one of the same token, which may see the same events. */
async function follow(stop: AbortSignal): Promise<void> {
  // Of a node in the clear under another name than localhost the browser has no locks.
  if (!("locks" in navigator)) return read(stop, () => {});
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(authorization()["authorization"] ?? ""));
  if (stop.aborted) return;
  const name = `tollgate-events ${[...new Uint8Array(digest).slice(0, 8)].join(".")}`;
  const channel = new BroadcastChannel(name);
  const tell = (told: Told) => channel.postMessage(told);
  let isHolder = false;
  channel.onmessage = ({ data }: MessageEvent<Told>) => {
    if (!data.isNew) hear(data);
    else if (isHolder) tell({ events: events.peek(), upTo, live: live.peek() });
  };
  tell({ isNew: true });
  const hold = () => {
    isHolder = true;
    return read(stop, tell);
  };
  await navigator.locks.request(name, { signal: stop }, hold).catch(() => {});
  channel.close();
}

function look(): void {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(leave, HIDDEN);
  else if (!following) {
    following = new AbortController();
    void follow(following.signal);
  }
}

function leave(): void {
  following?.abort();
  following = undefined;
  live.value = { open: false, trouble: "" };
}

/** Begins with a login, and ends with it. */
export function open(): void {
  if (isOpen) return;
  isOpen = true;
  document.addEventListener("visibilitychange", look);
  look();
}

export function close(): void {
  isOpen = false;
  document.removeEventListener("visibilitychange", look);
  clearTimeout(leaving);
  leave();
  upTo = 0n;
  seen.clear();
  events.value = [];
}

/** Calls `heard` for each event that comes, as long as the component is there. */
export function useEvents(heard: (event: Event) => void, on: unknown[]): void {
  useEffect(() => {
    listeners.add(heard);
    return () => void listeners.delete(heard);
  }, on);
}
