// Counters of the node, from /metrics: what no rpc has as a rate. The page reads them every few seconds, and shows the difference.
import { authorization, WITHIN } from "./api";

export type Counters = { at: number; allowed: number; denied: number; failOpen: number; emergency: number; byGate: Record<string, number>; startedAt: number };

const LINE = /^([a-z_]+)(?:\{([^}]*)\})? (\S+)/;
const LABEL = /([a-z_]+)="([^"]*)"/g;

function labels(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(LABEL)].map(([, name, value]) => [name ?? "", value ?? ""]));
}

export class NotForYou extends Error {}

export async function readCounters(signal: AbortSignal): Promise<Counters> {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(WITHIN)]);
  const answer = await fetch("/metrics", { headers: authorization(), signal: bounded, cache: "no-store" });
  if (answer.status === 401 || answer.status === 403) throw new NotForYou((await answer.text()).trim());
  if (!answer.ok) throw new Error(`/metrics answered ${answer.status}`);
  const counters: Counters = { at: Date.now(), allowed: 0, denied: 0, failOpen: 0, emergency: 0, byGate: {}, startedAt: 0 };
  for (const line of (await answer.text()).split("\n")) {
    if (!line.startsWith("tollgate_decisions") && !line.startsWith("tollgate_fail") && !line.startsWith("tollgate_emergency_d") && !line.startsWith("process_start")) continue;
    const [, name, given, text] = LINE.exec(line) ?? [];
    const value = Number(text);
    if (!Number.isFinite(value)) continue;
    if (name === "tollgate_decisions_total") {
      const { code, gate = "" } = labels(given ?? "");
      if (code === "ALLOWED") counters.allowed += value;
      else {
        counters.denied += value;
        counters.byGate[gate] = (counters.byGate[gate] ?? 0) + value;
      }
    } else if (name === "tollgate_fail_open_total") counters.failOpen += value;
    else if (name === "tollgate_emergency_denials_total") counters.emergency += value;
    else if (name === "process_start_time_seconds") counters.startedAt = value * 1000;
  }
  return counters;
}
