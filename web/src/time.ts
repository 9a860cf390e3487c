// The node's time, by which everything on the page is said.
import { computed, signal } from "@preact/signals";

const offset = signal(0);
const tick = signal(Date.now());
setInterval(() => {
  if (!document.hidden) tick.value = Date.now();
}, 1000);
document.addEventListener("visibilitychange", () => (tick.value = Date.now()));

/** The time of the node, once a second. */
export const now = computed(() => tick.value + offset.value);

/** The same at this moment. */
export function current(): number {
  return Date.now() + offset.peek();
}

/** What this machine noted at `at`, by the node's time. */
export function byNode(at: number): number {
  return at + offset.value;
}

/** The node has said its time, in an answer to what was asked at `asked` by this machine. */
export function nodeSays(nowMs: number, asked: number): void {
  const found = nowMs - (asked + Date.now()) / 2;
  // What the network adds is not worth a move of every time on the page.
  if (Math.abs(found - offset.peek()) > 500) offset.value = found;
}
