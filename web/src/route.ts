// Where the page is, as its address says: every screen has one that shows it again, filters and panels included.
import { computed, signal } from "@preact/signals";

const at = signal(new URL(location.href));
addEventListener("popstate", () => {
  at.value = new URL(location.href);
  restore();
});

/** What the history keeps of an entry: how far it was scrolled, and whether it is a panel that this page has opened. */
type Kept = { y?: number; isPanel?: boolean };
const kept = () => (history.state ?? {}) as Kept;

history.scrollRestoration = "manual";
let saving: ReturnType<typeof setTimeout> | undefined;
let isRestoring = false;

function save(): void {
  clearTimeout(saving);
  if (!isRestoring) history.replaceState({ ...kept(), y: scrollY }, "");
}

addEventListener(
  "scroll",
  () => {
    clearTimeout(saving);
    saving = setTimeout(save, 200);
  },
  { passive: true },
);

const RESTORED_WITHIN = 3000;

/** Scrolls to where this entry of the history was left, as soon as there is so much of it; a person who moves is not moved. */
export function restore(): void {
  clearTimeout(saving);
  const { y } = kept();
  if (y === undefined) return;
  const until = performance.now() + RESTORED_WITHIN;
  const moved = new AbortController();
  for (const kind of ["wheel", "keydown", "pointerdown"]) addEventListener(kind, () => moved.abort(), { signal: moved.signal, passive: true });
  isRestoring = true;
  const attempt = () => {
    scrollTo(0, y);
    isRestoring = Math.abs(scrollY - y) > 2 && performance.now() < until && !moved.signal.aborted;
    if (isRestoring) requestAnimationFrame(attempt);
    else moved.abort();
  };
  attempt();
}

export type Place =
  | { page: "fleet" | "orgs" | "cluster" | "events" }
  | { page: "org"; org: string }
  | { page: "nowhere"; path: string };

export const place = computed<Place>(() => placeOf(at.value.pathname));
export const query = computed(() => at.value.searchParams);

function placeOf(path: string): Place {
  if (path === "/") return { page: "fleet" };
  if (path === "/orgs/") return { page: "orgs" };
  if (path === "/orgs" || path === "/cluster" || path === "/events") return { page: path.slice(1) as "orgs" };
  if (!path.startsWith("/orgs/")) return { page: "nowhere", path };
  try {
    return { page: "org", org: decodeURIComponent(path.slice("/orgs/".length)) };
  } catch {
    return { page: "nowhere", path };
  }
}

export function orgPath(org: string): string {
  return `/orgs/${encodeURIComponent(org)}`;
}

/** Goes to another screen. */
export function go(to: string): void {
  save();
  history.pushState({ y: 0 }, "", to);
  at.value = new URL(location.href);
  scrollTo(0, 0);
}

/** Changes what the address says beside the path; an empty value takes it out. A new entry of the history where `push`. */
export function ask(changes: Record<string, string>, push = false, isPanel = false): void {
  const url = new URL(at.peek());
  for (const [name, value] of Object.entries(changes)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  if (url.href === at.peek().href) return;
  if (push) {
    save();
    history.pushState({ y: scrollY, isPanel }, "", url);
  } else history.replaceState(kept(), "", url);
  at.value = url;
}

const PANEL = { do: "", limit: "", scope: "", id: "", raise: "" };

/** Opens the panel of a change. */
export function act(what: string, about: Record<string, string> = {}): void {
  ask({ ...PANEL, do: what, ...about }, true, true);
}

/** Closes it: where this page has opened it, by going back, so that nothing of it is left in the history. */
export function closePanel(): void {
  if (kept().isPanel) history.back();
  else ask(PANEL);
}

/** Links of the page itself need no new page. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest?.("a");
  if (!link || link.target || link.origin !== location.origin || placeOf(link.pathname).page === "nowhere") return;
  // A part of the same screen.
  if (link.hash && link.pathname === location.pathname && link.search === location.search) return;
  event.preventDefault();
  if (link.href !== location.href) go(link.href);
});
