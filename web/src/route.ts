// Where the page is, as its address says: every screen has one that shows it again, filters and panels included.
import { computed, signal } from "@preact/signals";

const at = signal(new URL(location.href));
addEventListener("popstate", () => (at.value = new URL(location.href)));

export type Place =
  | { page: "fleet" | "orgs" | "cluster" | "events" }
  | { page: "org"; org: string }
  | { page: "nowhere"; path: string };

export const place = computed<Place>(() => placeOf(at.value.pathname));
export const query = computed(() => at.value.searchParams);

function placeOf(path: string): Place {
  if (path === "/") return { page: "fleet" };
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
  history.pushState(null, "", to);
  at.value = new URL(location.href);
  scrollTo(0, 0);
}

/** Changes what the address says beside the path; an empty value takes it out. A new entry of the history where `push`. */
export function ask(changes: Record<string, string>, push = false): void {
  const url = new URL(at.peek());
  for (const [name, value] of Object.entries(changes)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  if (url.href === at.peek().href) return;
  history[push ? "pushState" : "replaceState"](null, "", url);
  at.value = url;
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
