// Four budgets of spend, of the org or of one of its scopes.
import { effect, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import { OverrideSetting, type Override } from "@gen/admin/v1/control_pb.js";
import type { Budget, BudgetPeriod } from "@gen/v1/budget_pb.js";
import { budgets } from "../api";
import { counted, dollars, percent } from "../format";
import { caller, mayWrite } from "../login";
import { Choose, Loaded, Progress, Section, When } from "../parts";
import { money, Mistake } from "../parse";
import { act, ask, query } from "../route";
import { useSource, type Source } from "../source";
import { setting, type Level } from "../words";

export const PERIODS: [string, string][] = [["hourly", "1 h"], ["daily", "24 h"], ["weekly", "7 d"], ["monthly", "30 d"]];

/** What was typed of an org or a scope and is not applied yet: it is there again after another screen. */
const typedIn = new Map<string, Record<string, string>>();

effect(() => {
  if (!caller.value) typedIn.clear();
});

/** A change to be reviewed: limits by period as they are set here, none = none is; and what stands over them. */
export type Draft = {
  org: string;
  scope: string;
  version: bigint;
  before: Record<string, bigint | undefined>;
  limits: Record<string, bigint | undefined>;
  overrides: Record<string, Override | undefined>;
  changed: string[];
};
export const draft: { current: Draft | undefined } = { current: undefined };

export function Budgets({ org, of, changes }: { org: string; of: Source<GetOrgResponse>; changes: number }) {
  const scope = query.value.get("budget") ?? "";
  const source = useSource(`budget ${org} ${scope}`, 2000, (options) => budgets.getBudget({ org, scope }, options));
  useEffect(() => source.refresh(), [changes]);
  const data = of.data.value;
  const scopes = new Set(data?.limits.filter((limit) => limit.scope && limit.meter === "spend").map((limit) => limit.scope));
  for (const each of data?.budgets ?? []) if (each.scope) scopes.add(each.scope);
  if (scope) scopes.add(scope);
  const aside = scopes.size > 0 && (
    <Choose label="Of" value={scope} choices={[["", "the org"], ...[...scopes].sort().map((each): [string, string] => [each, each])]} onPick={(budget) => ask({ budget })} />
  );
  return (
    <Section title="Budgets" id="budgets" of={source} aside={aside}>
      <Loaded of={source}>{({ budget }) => (budget && data ? <Four key={`${org} ${scope}`} budget={budget} data={data} /> : null)}</Loaded>
    </Section>
  );
}

/** The limit that is set here, which an override or a grant may stand over; none where none is. */
function stored(budget: Budget, data: GetOrgResponse, name: string): bigint | undefined {
  const period = budget.periods[name];
  if (!period?.set) return undefined;
  const row = data.budgets.find((each) => each.scope === budget.scope);
  // Where one of the two answers is newer, it is the one of the budget.
  return row?.version === budget.version ? row.limits[name] : period.limit;
}

/** Micro-USD as it is typed: `12.50`; empty = none. */
function typed(limit: bigint | undefined): string {
  return limit === undefined ? "" : dollars(limit).slice(1).replaceAll(",", "");
}

function Four({ budget, data }: { budget: Budget; data: GetOrgResponse }) {
  const key = `${budget.org}\n${budget.scope}`;
  const texts = useSignal(typedIn.get(key) ?? {});
  const write = (all: Record<string, string>) => {
    texts.value = all;
    if (Object.keys(all).length > 0) typedIn.set(key, all);
    else typedIn.delete(key);
  };
  const mistakes: Record<string, string> = {};
  const before = Object.fromEntries(PERIODS.map(([name]) => [name, stored(budget, data, name)]));
  const overrides = Object.fromEntries(
    PERIODS.map(([name]) => [name, data.overrides.find((each) => each.limit === `budget/${name}` && each.scope === budget.scope && each.grant === 0n && !each.ignored)]),
  );
  const wanted: Record<string, bigint | undefined> = {};
  const changed: string[] = [];
  for (const [name, text] of Object.entries(texts.value)) {
    try {
      wanted[name] = text.trim() === "" ? undefined : money(text);
      if (wanted[name] !== before[name]) changed.push(name);
    } catch (error) {
      if (!(error instanceof Mistake)) throw error;
      mistakes[name] = error.message;
    }
  }
  const review = (event: Event) => {
    event.preventDefault();
    if (Object.keys(mistakes).length > 0 || changed.length === 0) return;
    draft.current = { org: budget.org, scope: budget.scope, version: budget.version, before, limits: wanted, overrides, changed };
    applied = () => write({});
    act("budget", { scope: budget.scope });
  };
  return (
    <form class="budgets" onSubmit={review}>
      {budget.malformed.length > 0 && <p class="trouble">Stored limits cannot be understood: {budget.malformed.join(", ")}. The gate budgets is not evaluated until they are replaced.</p>}
      {PERIODS.map(([name, length]) => (
        <Row
          key={name}
          name={name}
          length={length}
          period={budget.periods[name]}
          set={before[name]}
          override={overrides[name]}
          isShadow={data.limits.find((limit) => limit.name === `budget/${name}` && limit.scope === budget.scope)?.shadow ?? false}
          text={texts.value[name]}
          mistake={mistakes[name]}
          onText={(text) => write({ ...texts.value, [name]: text })}
        />
      ))}
      {mayWrite.value && (
        <div class="row-end">
          <p class="note">In USD. Empty = no limit set here; 0 = blocks all.</p>
          {Object.keys(texts.value).length > 0 && <button type="button" class="small" onClick={() => write({})}>Undo</button>}
          <button disabled={changed.length === 0 || Object.keys(mistakes).length > 0}>{changed.length === 0 ? "Nothing to review" : `Review ${counted(changed.length, "change")}`}</button>
        </div>
      )}
    </form>
  );
}

/** Called when the draft has been applied. */
let applied: () => void = () => {};
export function draftApplied(): void {
  draft.current = undefined;
  applied();
}

function Row(props: {
  name: string;
  length: string;
  period: BudgetPeriod | undefined;
  set: bigint | undefined;
  override: Override | undefined;
  isShadow: boolean;
  text: string | undefined;
  mistake: string | undefined;
  onText: (text: string) => void;
}) {
  const { name, length, period, set, override, isShadow, text, mistake } = props;
  const limit = period?.limit;
  const spend = period?.spend ?? 0n;
  const taken = spend + (period?.reserved ?? 0n);
  const share = limit === undefined ? 0 : percent(taken, limit);
  const at: Level = limit === undefined ? "none" : isShadow ? "ok" : taken >= limit ? "over" : share >= 80 ? "near" : "ok";
  const word = limit === undefined ? "" : isShadow ? "shadow" : limit === 0n ? "blocks all" : taken > limit ? "over" : taken === limit ? "exhausted" : share >= 80 ? "near" : "";
  const known = limit === undefined ? (override ? "unlimited" : "no limit") : dollars(limit);
  return (
    <div class="budget">
      <div class="name">
        <label {...(mayWrite.value ? { for: `budget-${name}` } : {})}>{name}</label> <span class="dim">{length}</span>
      </div>
      {mayWrite.value && (
        <div class="field">
          <span aria-hidden="true">$</span>
          <input
            id={`budget-${name}`}
            inputMode="decimal"
            autocomplete="off"
            placeholder="none"
            class={text !== undefined && text !== typed(set) ? "changed" : ""}
            value={text ?? typed(set)}
            aria-invalid={mistake !== undefined}
            aria-describedby={`budget-${name}-said`}
            onInput={(event) => props.onText(event.currentTarget.value)}
          />
        </div>
      )}
      {limit === undefined ? (
        <div class="bar none" aria-hidden="true" />
      ) : (
        <Progress
          label={`${name} budget`}
          value={Number(spend) / 1e6}
          held={Number(period?.reserved ?? 0n) / 1e6}
          max={Number(limit) / 1e6}
          text={`${dollars(spend)} of ${known} spent${word ? `, ${word}` : ""}`}
          level={at}
          shadow={isShadow}
        />
      )}
      <div class={`share ${at}`}>{limit !== undefined && <><span class="number">{share} %</span> {word}</>}</div>
      <div class="right number amounts">
        <span data-spend={name}>{dollars(spend)}</span> / {known}
        {(period?.reserved ?? 0n) > 0n && <span class="sub">{dollars(period?.reserved ?? 0n)} reserved</span>}
      </div>
      <div id={`budget-${name}-said`} class={`origin ${override ? "wide" : ""}`}>
        {mistake ? <span class="red" role="alert">{mistake}</span> : override ? <Overridden override={override} set={set} /> : <Origin period={period} set={set} />}
      </div>
    </div>
  );
}

/** `an override of $50.00`, `an override to unlimited`. */
export function overrideText(override: Override): string {
  return `an override ${override.setting === OverrideSetting.AMOUNT ? "of" : "to"} ${setting(override)}`;
}

function Overridden({ override, set }: { override: Override; set: bigint | undefined }) {
  return (
    <span class="accent">
      {overrideText(override)} holds {override.untilMs > 0n ? <>until <When at={override.untilMs} /></> : "until it is cleared"}
      {mayWrite.value ? "; what is set here holds after it" : set === undefined ? "" : `; ${dollars(set)} is set and holds after it`}
      {override.reason && <>; reason: {override.reason}</>}
    </span>
  );
}

function Origin({ period, set }: { period: BudgetPeriod | undefined; set: bigint | undefined }) {
  if (!period || period.limit === undefined) return <span class="dim">–</span>;
  const granted = set !== undefined && period.limit > set ? `, ${dollars(period.limit - set)} granted` : "";
  return <>{period.set ? "set" : "configured"}{granted}{period.limit === 0n && ", blocks all"}</>;
}
