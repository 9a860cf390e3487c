// Four budgets of spend, of the org or of one of its scopes.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import { LimitSource } from "@gen/v1/gate_pb.js";
import type { Budget, BudgetPeriod } from "@gen/v1/budget_pb.js";
import { budgets } from "../api";
import { dollars, percent } from "../format";
import { mayWrite } from "../login";
import { Loaded, Pick, Progress, Section, Time } from "../parts";
import { money, Mistake } from "../parse";
import { ask, query } from "../route";
import { useSource, type Source } from "../source";
import type { Level } from "../words";
import { act } from "./page";

export const PERIODS: [string, string][] = [["hourly", "1 h"], ["daily", "24 h"], ["weekly", "7 d"], ["monthly", "30 d"]];

/** What was typed and not applied, by period; `undefined` = as it is. */
export type Draft = { org: string; scope: string; version: bigint; before: Budget; limits: Record<string, bigint | undefined>; changed: string[] };
export const draft: { current: Draft | undefined } = { current: undefined };

export function Budgets({ org, of, changes }: { org: string; of: Source<GetOrgResponse>; changes: number }) {
  const scope = query.value.get("budget") ?? "";
  const source = useSource(`budget ${org} ${scope}`, 2000, (options) => budgets.getBudget({ org, scope }, options));
  useEffect(() => source.refresh(), [changes]);
  const scopes = new Set(of.data.value?.limits.filter((limit) => limit.scope && limit.meter === "spend").map((limit) => limit.scope));
  for (const each of of.data.value?.budgets ?? []) if (each.scope) scopes.add(each.scope);
  if (scope) scopes.add(scope);
  const aside = scopes.size > 0 && (
    <Pick label="Of" value={scope} choices={[["", "the org"], ...[...scopes].sort().map((each): [string, string] => [each, each])]} onPick={(budget) => ask({ budget })} />
  );
  return (
    <Section title="Budgets" id="budgets" of={source} aside={aside}>
      <Loaded of={source}>{({ budget }) => (budget ? <Four key={`${org} ${scope}`} budget={budget} /> : null)}</Loaded>
    </Section>
  );
}

/** Micro-USD as it is typed: `12.50`; empty = none. */
function typed(limit: bigint | undefined): string {
  return limit === undefined ? "" : dollars(limit).slice(1).replaceAll(",", "");
}

function Four({ budget }: { budget: Budget }) {
  const texts = useSignal<Record<string, string>>({});
  const mistakes: Record<string, string> = {};
  const wanted: Record<string, bigint | undefined> = {};
  const changed: string[] = [];
  for (const [name] of PERIODS) {
    const own = budget.periods[name];
    const text = texts.value[name];
    if (text === undefined) continue;
    try {
      const limit = text.trim() === "" ? undefined : money(text);
      wanted[name] = limit;
      if (limit !== own?.limit) changed.push(name);
    } catch (error) {
      if (!(error instanceof Mistake)) throw error;
      mistakes[name] = error.message;
    }
  }
  const review = (event: Event) => {
    event.preventDefault();
    if (Object.keys(mistakes).length > 0 || changed.length === 0) return;
    draft.current = { org: budget.org, scope: budget.scope, version: budget.version, before: budget, limits: wanted, changed };
    applied = () => (texts.value = {});
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
          text={texts.value[name]}
          mistake={mistakes[name]}
          onText={(text) => (texts.value = { ...texts.value, [name]: text })}
        />
      ))}
      {mayWrite.value && (
        <div class="row-end">
          <p class="note">In USD. Empty = no limit set here; 0 = blocks all.</p>
          {changed.length > 0 && <button type="button" class="small" onClick={() => (texts.value = {})}>Undo</button>}
          <button disabled={changed.length === 0 || Object.keys(mistakes).length > 0}>Review {changed.length || "no"} {changed.length === 1 ? "change" : "changes"}</button>
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

function Row(props: { name: string; length: string; period: BudgetPeriod | undefined; text: string | undefined; mistake: string | undefined; onText: (text: string) => void }) {
  const { name, length, period, text, mistake } = props;
  const limit = period?.limit;
  const spend = period?.spend ?? 0n;
  const taken = spend + (period?.reserved ?? 0n);
  const share = limit === undefined ? 0 : percent(taken, limit);
  const at: Level = limit === undefined ? "none" : taken >= limit ? "over" : share >= 80 ? "near" : "ok";
  const word = limit === 0n ? "blocks all" : limit === undefined ? "" : taken > limit ? "over" : taken === limit ? "exhausted" : share >= 80 ? "near" : "";
  const known = limit === undefined ? "no limit" : dollars(limit);
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
            class={text !== undefined && text !== typed(limit) ? "changed" : ""}
            value={text ?? typed(limit)}
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
        />
      )}
      <div class={`share ${at}`}>{limit !== undefined && <><span class="number">{share} %</span> {word}</>}</div>
      <div class="right number amounts">
        <span data-spend={name}>{dollars(spend)}</span> / {known}
        {(period?.reserved ?? 0n) > 0n && <span class="sub">{dollars(period?.reserved ?? 0n)} reserved</span>}
      </div>
      <div id={`budget-${name}-said`} class="origin">
        {mistake ? <span class="red" role="alert">{mistake}</span> : <Origin period={period} />}
      </div>
    </div>
  );
}

function Origin({ period }: { period: BudgetPeriod | undefined }) {
  if (!period || period.limit === undefined) return <span class="dim">–</span>;
  const blocks = period.limit === 0n ? ", blocks all" : "";
  if (period.source === LimitSource.OVERRIDE) {
    return <span class="accent">override{blocks}{period.sourceUntilMs > 0n && <>, ends <Time at={period.sourceUntilMs} /></>}</span>;
  }
  return <>{period.set ? "set" : "configured"}{blocks}</>;
}
