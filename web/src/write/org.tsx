// Changes of an org as a whole: freeze, plan, exemption, refund, budget, session, deletion.
import { useSignal } from "@preact/signals";
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import { Exempt, ExemptionChange, PlanChange } from "@gen/admin/v1/control_pb.js";
import { PeriodPatchSchema } from "@gen/v1/budget_pb.js";
import { create } from "@bufbuild/protobuf";
import { admin, budgets, pools, sessions } from "../api";
import { amount, counted, dollars, grouped, span, utc } from "../format";
import { caller } from "../login";
import { draft, draftApplied, overrideText } from "../org/budgets";
import * as parse from "../parse";
import { query } from "../route";
import { useSource } from "../source";
import { code } from "../words";
import { Choice, Lasts, Text, lasting } from "./fields";
import { limitText, Panel, type Change, type Form } from "./panel";

type Props = { data: GetOrgResponse; done: () => void };

export function FreezeForm({ data, done }: Props) {
  const [lasts, other] = [useSignal(""), useSignal("")];
  const form: Form = {
    title: "Freeze the org",
    does: "Every Acquire is denied with the reason from the next call on. What runs may finish: Resume, settlement and heartbeats go on.",
    fields: <Lasts value={lasts} other={other} open="until it is unfrozen" />,
    danger: true,
    verb: "Freeze",
    send: async ({ requestId, reason, dryRun }, options) => {
      const answer = await admin.freeze({ org: data.org, requestId, reason, dryRun, forMs: lasting(lasts.value, other.value) }, options);
      return { changes: [{ what: "frozen", old: answer.wasFrozen ? "yes" : "no", new: "yes" }], untilMs: answer.untilMs, ends: "it is unfrozen", replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

export function UnfreezeForm({ data, done }: Props) {
  const form: Form = {
    title: "Unfreeze the org",
    does: "The freeze ends now; limits decide again from the next call on.",
    fields: null,
    verb: "Unfreeze",
    send: async ({ requestId, reason, dryRun }, options) => {
      const answer = await admin.unfreeze({ org: data.org, requestId, reason, dryRun }, options);
      return { changes: [{ what: "frozen", old: answer.wasFrozen ? "yes" : "no", new: "no" }], replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

export function PlanForm({ data, done }: Props) {
  const node = useSource("plans", 60_000, (options) => admin.getNode({}, options));
  const plan = useSignal("=");
  const [lasts, other] = [useSignal(""), useSignal("")];
  const found = data.overrides.find((each) => each.limit === "plan");
  const names = node.data.value?.plans ?? [];
  const form: Form = {
    title: "Give another plan",
    does: "Limits of the plan take effect with the next call. Budgets, overrides and what is configured for the org itself stand over it.",
    fields: (
      <>
        <Choice label="Plan" id="plan" value={plan} choices={[["=", "the one that is configured"], ...names.map((name): [string, string] => [name, name === data.plan ? `${name} (now)` : name]), ["", "none"]]} />
        {plan.value !== "=" && <Lasts value={lasts} other={other} open="until it is cleared" />}
      </>
    ),
    send: async ({ requestId, reason, dryRun }, options) => {
      if (plan.value === "=" && !found) throw new parse.Mistake(`No other plan is set: the configured one is in force, ${data.plan || "none"}.`);
      if (plan.value === data.plan && !found) throw new parse.Mistake(`The plan is ${data.plan || "none"} already.`);
      const change = plan.value === "=" ? PlanChange.CLEAR : plan.value === "" ? PlanChange.NONE : PlanChange.SET;
      const named = change === PlanChange.SET ? { plan: plan.value } : {};
      const forMs = change === PlanChange.CLEAR ? 0n : lasting(lasts.value, other.value);
      const answer = await admin.setPlan({ org: data.org, requestId, reason, dryRun, change, forMs, ...named, ...(found ? { expectedVersion: found.version } : {}) }, options);
      const until = change === PlanChange.CLEAR ? {} : { untilMs: answer.current?.untilMs ?? 0n };
      return { changes: [{ what: "plan", old: answer.planBefore || "none", new: answer.plan || "none" }], ...until, replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

const EXEMPT: Partial<Record<Exempt, string>> = { [Exempt.NEVER]: "never", [Exempt.IF_PAYING]: "if it pays", [Exempt.ALWAYS]: "always" };

export function ExemptForm({ data, done }: Props) {
  const change = useSignal(String(ExemptionChange.EXEMPT));
  const [lasts, other] = [useSignal("24h"), useSignal("")];
  const form: Form = {
    title: "Exemption from the rate backstop",
    does: "Whether the rate backstop spares the org, from the next call on. Every other limit stays in force.",
    fields: (
      <>
        <Choice
          label="The backstop"
          value={change}
          choices={[[String(ExemptionChange.EXEMPT), "spares it"], [String(ExemptionChange.NOT_EXEMPT), "does not spare it"], [String(ExemptionChange.CLEAR), "as it is configured"]]}
        />
        {change.value !== String(ExemptionChange.CLEAR) && <Lasts value={lasts} other={other} open="until it is cleared" />}
      </>
    ),
    send: async ({ requestId, reason, dryRun }, options) => {
      const isCleared = change.value === String(ExemptionChange.CLEAR);
      const forMs = isCleared ? 0n : lasting(lasts.value, other.value);
      const answer = await admin.setExemption({ org: data.org, requestId, reason, dryRun, change: Number(change.value), forMs }, options);
      const until = isCleared ? {} : { untilMs: answer.current?.untilMs ?? 0n };
      return { changes: [{ what: "exempt", old: EXEMPT[answer.before] ?? "not known", new: EXEMPT[answer.after] ?? "not known" }], ...until, replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

export function RefundForm({ data, done }: Props) {
  const what = useSignal("decision");
  const decision = useSignal("");
  const meters = [...new Set(["executions", "spend", "compute", ...data.ledgers.map((ledger) => ledger.meter)])];
  const meter = useSignal(meters[0] ?? "executions");
  const value = useSignal("");
  const scope = useSignal("");
  const form: Form = {
    title: "Refund usage",
    does: "Gives usage back where it was counted: in its window, its scopes and the org, and at the billing provider where it is reported there. Never more than was used.",
    fields: (
      <>
        <Choice label="Of" value={what} choices={[["decision", "one decision"], ["amount", "an amount of this hour"]]} />
        {what.value === "decision" ? (
          <Text label="Decision id" value={decision} first />
        ) : (
          <>
            <Choice label="Meter" value={meter} choices={meters.map((each) => [each, each])} />
            <Text label="Amount" hint={parse.hint(meter.value)} value={value} first />
            <Text label="Scope" hint="empty = the org itself" value={scope} />
          </>
        )}
      </>
    ),
    send: async ({ requestId, reason, dryRun }, options) => {
      if (what.value === "decision" && decision.value.trim() === "") throw new parse.Mistake("a decision id is missing");
      const given =
        what.value === "decision" ? { decisionId: decision.value.trim() } : { amounts: [{ meter: meter.value, amount: parse.amount(meter.value, value.value) }], scope: scope.value.trim() };
      const answer = await admin.refund({ org: data.org, requestId, reason, dryRun, ...given }, options);
      const changes: Change[] = answer.after.map((after) => {
        const before = answer.before.find((each) => each.name === after.name && each.scope === after.scope);
        return { what: `${after.name}${after.scope && ` of ${after.scope}`}, used`, old: before ? amount(before.meter, before.used) : "not known", new: amount(after.meter, after.used) };
      });
      const notes = answer.amounts.map((each) => `${each.meter}: ${amount(each.meter, each.given)} of ${amount(each.meter, each.asked)} given back`);
      return { changes, notes, replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

export function BudgetForm({ done }: Props) {
  const mine = useSignal(draft.current).value;
  if (!mine) return null;
  const text = (limit: bigint | undefined) => (limit === undefined ? "none set" : limit === 0n ? "$0.00, blocks all" : dollars(limit));
  const form: Form = {
    title: mine.scope ? `Budgets of ${mine.scope}` : "Budgets of the org",
    does: "The limits on spend that are set here replace the configured ones from the next call on. A period that is cleared has its configured limit again.",
    fields: null,
    send: async ({ requestId, reason, dryRun }, options) => {
      const periods = Object.fromEntries(
        mine.changed.map((name) => {
          const limit = mine.limits[name];
          return [name, create(PeriodPatchSchema, limit === undefined ? { clear: true } : { limit })];
        }),
      );
      const answer = await budgets.updateBudget({ org: mine.org, scope: mine.scope, requestId, reason, dryRun, periods, expectedVersion: mine.version }, options);
      const notes = mine.changed.map((name) => {
        const [override, after] = [mine.overrides[name], answer.budget?.periods[name]];
        const until = override && (override.untilMs > 0n ? `until ${utc(Number(override.untilMs))}` : "until it is cleared");
        if (override) return `${name}: ${overrideText(override)} holds ${until}; what is set here holds after it.`;
        if (mine.limits[name] !== undefined) return "";
        return `${name}: ${after?.limit === undefined ? "no limit" : `${dollars(after.limit)}, as configured,`} is in force then.`;
      });
      const changes = mine.changed.map((name) => ({ what: name, old: text(mine.before[name]), new: text(mine.limits[name]) }));
      return { changes, notes: notes.filter((note) => note), replayed: answer.replayed };
    },
    conflict: async (options) => {
      const { budgets } = await admin.getOrg({ org: mine.org }, options);
      const now = budgets.find((each) => each.scope === mine.scope);
      const said = (of: Record<string, bigint | undefined>) => mine.changed.map((name) => `${name} ${text(of[name])}`).join(", ");
      return `Yours was made over version ${mine.version} (${said(mine.before)}); version ${now?.version ?? 0n} is in force now (${said(now?.limits ?? {})}). Close this, and change what is there now.`;
    },
    applied: draftApplied,
  };
  return <Panel form={form} done={done} />;
}

export function SessionForm({ data, done }: Props) {
  const session = useSignal(`page-${Date.now().toString(36)}`);
  const identity = useSignal(caller.peek()?.name ?? "");
  const form: Form = {
    title: "New session",
    does: "Takes a slot and a first slice of compute. A session that sends no heartbeats expires by itself.",
    fields: (
      <>
        <Text label="Session id" value={session} first />
        <Text label="Identity" hint="every later call must name the same" value={identity} />
      </>
    ),
    hasNoPreview: true,
    needsNoReason: true,
    verb: "Start",
    send: async ({ requestId }, options) => {
      const answer = await sessions.startSession({ org: data.org, sessionId: session.value.trim(), identity: identity.value.trim(), requestId, plane: "page" }, options);
      if (!answer.allowed) throw new parse.Mistake(`${code(answer.code)}: ${answer.message}`);
      return { changes: [{ what: session.value.trim(), old: "none", new: "running" }], untilMs: answer.expiresAtMs, notes: [`It ends then unless a heartbeat comes every ${span(Number(answer.heartbeatIntervalMs))}.`], replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

export function AccountForm({ data, done }: Props) {
  const account = useSignal("");
  const pool = query.peek().get("id") ?? "";
  const form: Form = {
    title: "Clear an account",
    does: "Forgets what reports said of an account: that its quota is used up, that it asked to wait, that its route is avoided. What was counted stays.",
    fields: <Text label={`Account ${query.peek().get("limit") ?? ""}, in full`} hint="the page knows its first and last characters alone" value={account} first />,
    verb: "Clear",
    send: async ({ requestId, reason, dryRun }, options) => {
      const answer = await pools.clearAccount({ org: data.org, pool, account: account.value.trim(), requestId, reason, dryRun }, options);
      return { changes: [{ what: answer.account?.account ?? "account", old: answer.cleared ? "avoided or exhausted" : "nothing to forget", new: answer.cleared ? "cleared" : "as it was" }], replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

/** What a person knows of an org, by the kinds of its rows. */
const KINDS: Record<string, string> = {
  session: "sessions", reservation: "reservations", budget: "budgets", override: "overrides and grants", pool: "pools", denial: "denials", event: "events and changes",
};

export function DeleteForm({ data, done }: Props) {
  const form: Form = {
    title: "Delete the org",
    does: "Deletes what is stored of it: counters, ledger, reservations, sessions, budgets, overrides, its log. Usage that billing does not have yet stays until it does.",
    fields: null,
    danger: true,
    verb: "Delete",
    typeName: data.org,
    send: async ({ requestId, reason, dryRun }, options) => {
      const { receipt } = await admin.purgeOrg({ org: data.org, requestId, reason, dryRun }, options);
      const rows = Object.entries(receipt?.rows ?? {}).filter(([, count]) => count > 0n);
      const named = rows.filter(([kind]) => KINDS[kind]).map(([kind, count]) => ({ what: KINDS[kind] ?? kind, old: grouped(count), new: "none" }));
      const rest = rows.filter(([kind]) => !KINDS[kind]).reduce((sum, [, count]) => sum + count, 0n);
      const changes = [...named, { what: named.length ? "what else is counted and kept" : "what is kept", old: rest > 0n ? counted(rest, "row") : "nothing", new: "none" }];
      const gone = receipt?.bytesGoneByMs ? [`Its bytes have left the files by ${utc(Number(receipt.bytesGoneByMs))}.`] : [];
      return { changes, notes: gone };
    },
  };
  return <Panel form={form} done={done} />;
}

export { limitText };
