// What the node's numbers are called, in the words of the command.
import { AccountState, RouteHealth, type PoolAccountStatus } from "@gen/v1/pool_pb.js";
import { DecisionCode, LimitSource, type Limit } from "@gen/v1/gate_pb.js";
import { SessionState, type Session } from "@gen/v1/session_pb.js";
import { NodeState, OrgState } from "@gen/admin/v1/admin_pb.js";
import type { Denial, FullLimit } from "@gen/admin/v1/explain_pb.js";
import { OverrideSetting, type Override } from "@gen/admin/v1/control_pb.js";
import { amount, percent } from "./format";

function lower(names: Record<number, string>, value: number, what: string): string {
  const name = names[value];
  return name === undefined ? `${what} ${value}` : name.toLowerCase().replaceAll("_", " ");
}

/** `RATE_LIMITED`; a code of a newer node is its number. */
export const code = (value: DecisionCode) => DecisionCode[value] ?? `code ${value}`;
export const source = (value: LimitSource) => lower(LimitSource, value, "source");
export const account = (value: AccountState) => lower(AccountState, value, "state");
export const route = (value: RouteHealth) => lower(RouteHealth, value, "route");
export const node = (value: NodeState) => lower(NodeState, value, "state");
export const org = (value: OrgState) => lower(OrgState, value, "state");

/** The scope of a limit, for a sentence. */
export function named(limit: { name: string; scope: string }): string {
  return limit.scope ? `${limit.name} of ${limit.scope}` : limit.name;
}

export function sessionState(session: Session): string {
  const state = lower(SessionState, session.state, "state");
  return session.stopping && session.state === SessionState.RUNNING ? `${state}, stop requested` : state;
}

/** The limit that denies: of several the one that fits last. */
export function limitOf(denial: Denial): FullLimit | undefined {
  if (denial.code === DecisionCode.FROZEN || denial.code === DecisionCode.SCOPE_REQUIRED) return undefined;
  // 0 is never.
  const fits = (limit: FullLimit) => (limit.fitsAtMs === 0n ? 2n ** 63n : limit.fitsAtMs);
  return denial.limits.reduce<FullLimit | undefined>(
    (found, limit) => (found === undefined || fits(limit) > fits(found) ? limit : found),
    undefined,
  );
}

/** What denies: that limit, or the gate. */
export function by(denial: Denial): string {
  const limit = limitOf(denial);
  if (!limit && denial.code === DecisionCode.ACCOUNTS_EXHAUSTED && denial.asked?.pool) return `pool ${denial.asked.pool}`;
  return limit ? named(limit) : denial.gate;
}

/** What of a denial was let through, and why. */
export function causes(denial: Denial): string {
  return denial.gates.filter((gate) => gate.cause).map((gate) => `${gate.gate} (${gate.cause})`).join(", ");
}

/** `budget/daily of workspace/a: $1.95 of $2.00 used, $0.40 asked (rolling/1d)`. */
export function standing(limit: FullLimit): string {
  const shown = (value: bigint) => amount(limit.meter, value);
  const held = limit.reserved > 0n ? `, ${shown(limit.reserved)} reserved` : "";
  const buffer = limit.buffer > 0n ? ` (buffer ${shown(limit.buffer)})` : "";
  const asked = limit.asked > 0n ? `, ${shown(limit.asked)} asked` : "";
  return `${named(limit)}: ${shown(limit.used)} of ${shown(limit.amount)}${buffer} used${held}${asked} (${limit.window})`;
}

export type Level = "none" | "ok" | "near" | "over";

/** How much of a limit is taken, and what that is called. */
export function level(limit: Limit): { level: Level; percent: number; word: string } {
  if (limit.unlimited) return { level: "none", percent: 0, word: "unlimited" };
  const taken = limit.used + limit.reserved;
  const usable = limit.amount - limit.buffer;
  const share = percent(taken, usable);
  // It denies nobody, however much is used.
  if (limit.shadow) return { level: "ok", percent: share, word: "shadow" };
  if (usable <= 0n) return { level: "over", percent: 100, word: "blocks all" };
  if (taken > usable) return { level: "over", percent: share, word: "over" };
  if (limit.exhausted || taken === usable) return { level: "over", percent: share, word: "exhausted" };
  if (share >= 80) return { level: "near", percent: share, word: "near" };
  return { level: "ok", percent: share, word: "" };
}

/** Of a rolling limit that has something left nothing is waited for. */
export function waits(limit: Limit): boolean {
  return !limit.unlimited && !(limit.window.startsWith("rolling/") && !limit.limiting && !limit.exhausted);
}

/** Of which time its forecast takes the pace. */
export function pace(limit: Limit): string {
  if (limit.name === "rate") return "this window";
  const [, count, unit] = /\/(\d+)(s|m|h)$/.exec(limit.window) ?? [];
  const isShort = unit !== undefined && (unit !== "h" || count === "1") && (unit !== "m" || Number(count) <= 60);
  return isShort ? "the last 10 min" : "the last hour";
}

export function setting(each: Override): string {
  if (each.limit === "plan") return each.plan || "no plan";
  if (each.limit === "exemption") return each.exempt ? "exempt" : "not exempt";
  if (each.limit === "freeze") return "frozen";
  switch (each.setting) {
    case OverrideSetting.UNLIMITED:
      return "unlimited";
    case OverrideSetting.SHADOW:
      return "shadow";
    case OverrideSetting.GRANT:
      return `${amount(each.meter, each.amount ?? 0n)} granted`;
    default:
      return each.amount === undefined ? "" : amount(each.meter, each.amount);
  }
}

export function usableAgain(each: PoolAccountStatus): number | string {
  if (each.availableAtMs) return Number(each.availableAtMs);
  return each.state === AccountState.ACTIVE ? "" : "not by itself";
}
