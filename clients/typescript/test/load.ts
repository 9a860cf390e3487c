/**
 * A plane under load: `load.js URL,URL,… GUARDS_PER_SECOND_AT_MOST ORGS`. It guards executions until its
 * input ends, and prints what became of them.
 */
import process from "node:process";
import { tollgate } from "tollgate";

const [urls, perSecond, orgs] = process.argv.slice(2);
const reasons: Record<string, number> = {};
const nodes = new Set<string>();
let slowestMs = 0;
/** So many wait at most: a machine that cannot follow is asked less, and not more and more. */
const MOST = 16;
const tg = tollgate({
  url: urls!.split(","),
  plane: "load",
  // Longer than any takeover on a machine that does much else.
  budgetMs: 30_000,
  attemptMs: 5_000,
  settleBudgetMs: 60_000,
  onSettlementFailed: ({ error }) => count(error.message),
  onFailOpen: ({ error }) => count(error.message),
});

function count(reason: string): void {
  reasons[reason] = (reasons[reason] ?? 0) + 1;
}

let isOver = false;
process.stdin.resume().on("end", () => (isOver = true));
const running = new Set<Promise<void>>();
let started = 0;
const began = performance.now();

async function guard(): Promise<void> {
  const asked = performance.now();
  const ran = await tg.guard(`load-${started % Number(orgs)}`, () => {
    slowestMs = Math.max(slowestMs, performance.now() - asked);
  });
  if (ran.allowed && ran.admission.by === "tollgate") nodes.add(ran.admission.decision.node);
}

while (!isOver) {
  // What was late is not made up for at once: a plane does not ask faster after it has waited.
  const due = Math.min(started + MOST, ((performance.now() - began) / 1000) * Number(perSecond));
  for (; started < due && running.size < MOST; started++) {
    const one = guard();
    running.add(one);
    void one.finally(() => running.delete(one));
  }
  // Whoever watches knows that it is under way.
  process.stderr.write(`${tg.stats.allowed}\n`);
  await new Promise((next) => setTimeout(next, 20));
}
await Promise.all(running);
await tg.flush();
process.stdout.write(
  JSON.stringify({ ...tg.stats, reasons, started, slowestMs, nodes: [...nodes] }),
);
