// Changes of one limit: override, clear, grant, revoke, reset.
import { useSignal } from "@preact/signals";
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import { OverrideSetting, type Override } from "@gen/admin/v1/control_pb.js";
import { admin } from "../api";
import { amount, dollars, span } from "../format";
import * as parse from "../parse";
import { query } from "../route";
import { named, setting } from "../words";
import { Choice, LimitChoice, Lasts, Text, chosen, lasting, meterOf } from "./fields";
import { limitChange, Panel, type Form } from "./panel";

type Props = { data: GetOrgResponse; done: () => void };

function asked(data: GetOrgResponse): string {
  const limit = query.peek().get("limit");
  const first = data.limits.find((each) => each.limiting || each.exhausted) ?? data.limits[0];
  if (limit) return `${query.peek().get("scope") ?? ""}\n${limit}`;
  return first ? `${first.scope}\n${first.name}` : "";
}

/** An amount as it is typed. */
function typed(meter: string, value: bigint): string {
  if (meter === "spend") return dollars(value).slice(1).replaceAll(",", "");
  if (meter === "compute") return span(Number(value));
  return value.toString();
}

/** The version of an override that was there when its panel was opened; 0 = there never was one. */
async function versionOf(org: string, limit: { scope: string; limit: string }, options: object): Promise<bigint> {
  const { overrides } = await admin.listOverrides({ org, ended: true }, options);
  return overrides.find((each) => each.limit === limit.limit && each.scope === limit.scope && each.grant === 0n)?.version ?? 0n;
}

export function OverrideForm({ data, done }: Props) {
  const limit = useSignal(asked(data));
  const kind = useSignal("amount");
  const by = /^\d+$/.exec(query.peek().get("raise") ?? "")?.[0];
  const known = data.limits.find((each) => `${each.scope}\n${each.name}` === limit.peek());
  const value = useSignal(by && known ? typed(known.meter, known.amount + BigInt(by)) : "");
  const [lasts, other] = [useSignal("4h"), useSignal("")];
  const version = useSignal<{ of: string; is: bigint } | undefined>(undefined);
  const meter = meterOf(data, limit.value);
  const form: Form = {
    title: "Override a limit",
    does: "The limit is what is set here, over budget, plan and configuration, from the next call on. When it ends, what they say holds again.",
    fields: (
      <>
        <LimitChoice data={data} value={limit} />
        <Choice label="Set to" id="setting" value={kind} choices={[["amount", "an amount"], ["unlimited", "unlimited"], ["shadow", "shadow: evaluated, never denying"]]} />
        {kind.value === "amount" && <Text label="Amount" id="amount" hint={`${parse.hint(meter)}; 0 = block all`} value={value} first />}
        <Lasts value={lasts} other={other} open="until it is cleared" />
      </>
    ),
    send: async ({ requestId, reason, dryRun }, options) => {
      const about = chosen(limit.value);
      const settings = { amount: OverrideSetting.AMOUNT, unlimited: OverrideSetting.UNLIMITED, shadow: OverrideSetting.SHADOW };
      const given = kind.value === "amount" ? { amount: parse.amount(meter, value.value) } : {};
      const forMs = lasting(lasts.value, other.value);
      if (dryRun || version.peek()?.of !== limit.value) version.value = { of: limit.value, is: await versionOf(data.org, about, options) };
      const answer = await admin.setOverride(
        { org: data.org, ...about, requestId, reason, dryRun, forMs, setting: settings[kind.value as "amount"], ...given, expectedVersion: version.value?.is ?? 0n },
        options,
      );
      return { changes: limitChange({ name: about.limit, scope: about.scope }, answer.before, answer.after), untilMs: answer.current?.untilMs ?? 0n, replayed: answer.replayed };
    },
    conflict: async (options) => {
      const about = chosen(limit.value);
      const { overrides } = await admin.listOverrides({ org: data.org, ended: true }, options);
      const now = overrides.find((each) => each.limit === about.limit && each.scope === about.scope && each.grant === 0n);
      const is = now ? `version ${now.version}: ${setting(now)}${now.endedAtMs > 0n ? ", ended" : ""}${now.reason ? `, ${now.reason}` : ""}` : "gone";
      return `Yours was made over version ${version.peek()?.is ?? 0n}; it is now ${is}. Preview again to go on over that.`;
    },
  };
  return <Panel form={form} done={done} />;
}

export function ClearForm({ data, done }: Props) {
  const limit = useSignal(asked(data));
  const about = chosen(limit.value);
  const found = data.overrides.find((each) => each.limit === about.limit && each.scope === about.scope && each.grant === 0n);
  const version = useSignal(found?.version);
  const form: Form = {
    title: "Clear an override",
    does: `The override of ${named({ name: about.limit, scope: about.scope })} ends now: budget, plan and configuration decide again from the next call on.`,
    fields: null,
    send: async ({ requestId, reason, dryRun }, options) => {
      const answer = await admin.clearOverride({ org: data.org, ...about, requestId, reason, dryRun, ...(version.value === undefined ? {} : { expectedVersion: version.value }) }, options);
      return { changes: limitChange({ name: about.limit, scope: about.scope }, answer.before, answer.after), replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

export function GrantForm({ data, done }: Props) {
  const limit = useSignal(asked(data));
  const value = useSignal("");
  const [lasts, other] = [useSignal(""), useSignal("")];
  const untilSpent = useSignal("");
  const meter = meterOf(data, limit.value);
  const form: Form = {
    title: "Grant more of a limit",
    does: "Adds an amount on top of what is in force, from the next call on. Several grants add up, and each ends by itself.",
    fields: (
      <>
        <LimitChoice data={data} value={limit} />
        <Text label="Amount" id="amount" hint={parse.hint(meter)} value={value} first />
        <Choice label="Lasts" value={untilSpent} choices={[["", "for a time"], ["spent", "until it is spent"]]} />
        <Lasts value={lasts} other={other} open={untilSpent.value ? "without an end in time" : "to the end of the window"} />
      </>
    ),
    send: async ({ requestId, reason, dryRun }, options) => {
      const about = chosen(limit.value);
      const answer = await admin.grant(
        { org: data.org, ...about, requestId, reason, dryRun, amount: parse.amount(meter, value.value), forMs: lasting(lasts.value, other.value), untilSpent: untilSpent.value !== "" },
        options,
      );
      const until = answer.current?.untilMs ?? 0n;
      const changes = limitChange({ name: about.limit, scope: about.scope }, answer.before, answer.after);
      return { changes, ...(until ? { untilMs: until } : { ends: "it is spent" }), replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

/** The grant that the address names. */
export function grantOf(data: GetOrgResponse): Override | undefined {
  return data.overrides.find((each) => each.grant > 0n && String(each.grant) === query.peek().get("id"));
}

export function RevokeForm({ data, done }: Props) {
  const found = useSignal(grantOf(data)).value;
  const grant = found?.grant ?? 0n;
  const form: Form = {
    title: "Revoke a grant",
    does: found ? `The grant of ${amount(found.meter, found.amount ?? 0n)} on ${named({ name: found.limit, scope: found.scope })} ends now.` : "The grant ends now.",
    fields: null,
    send: async ({ requestId, reason, dryRun }, options) => {
      const answer = await admin.revokeGrant({ org: data.org, grant, requestId, reason, dryRun }, options);
      return { changes: limitChange({ name: found?.limit ?? "limit", scope: found?.scope ?? "" }, answer.before, answer.after), replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}

export function ResetForm({ data, done }: Props) {
  const limit = useSignal(asked(data));
  const form: Form = {
    title: "Reset a window",
    does: "Nothing of the window that runs now counts as used for this limit from the next call on. Usage, billing and every other limit stay as they are.",
    fields: <LimitChoice data={data} value={limit} only={(name) => name !== "sessions"} />,
    send: async ({ requestId, reason, dryRun }, options) => {
      const about = chosen(limit.value);
      const answer = await admin.resetWindow({ org: data.org, ...about, requestId, reason, dryRun }, options);
      const [before, after] = [answer.before, answer.after];
      const used = (each: typeof before) => (each ? amount(each.meter, each.used) : "nothing");
      return { changes: [{ what: `${named({ name: about.limit, scope: about.scope })}, used`, old: used(before), new: used(after) }], replayed: answer.replayed };
    },
  };
  return <Panel form={form} done={done} />;
}
