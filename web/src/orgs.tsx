// All orgs: found by name as one types, filtered and sorted by the node.
import { effect, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { OrgSort, OrgState, type OrgSummary } from "@gen/admin/v1/admin_pb.js";
import { ConnectError } from "@connectrpc/connect";
import { admin, away, call, isDown, sentence } from "./api";
import { collect, type Orgs, type OrgsAsked } from "./collect";
import { States } from "./fleet";
import { counted, grouped } from "./format";
import { ago, Choose, Empty, Only, OrgLink, Share } from "./parts";
import { ask, query } from "./route";
import { useSource } from "./source";
import { current } from "./time";
import * as words from "./words";

/** Rows that are held: by name as many as this, in another order the first of all. */
const MOST_BY_NAME = 20_000;
const MOST_SORTED = 1000;
const TYPED = 200;
const EVERY = 10_000;
/** After a list that was not answered, when the node answers again. */
const AFTER_MISS = 2000;

const STATES: [string, string, OrgState][] = [
  ["", "any state", OrgState.UNSPECIFIED],
  ["frozen", "frozen", OrgState.FROZEN],
  ["blocked", "blocked", OrgState.BLOCKED],
  ["denied", "denied within the hour", OrgState.DENIED],
  ["near", "near 80 % of a limit", OrgState.NEAR],
  ["overridden", "overridden", OrgState.OVERRIDDEN],
  ["exempt", "exempt from the backstop", OrgState.EXEMPT],
];
const SORTS: [string, string, OrgSort][] = [
  ["", "by name", OrgSort.UNSPECIFIED],
  ["denied", "most denied", OrgSort.MOST_DENIED],
  ["used", "nearest to a limit", OrgSort.MOST_USED],
  ["calls", "most calls", OrgSort.MOST_CALLS],
  ["open", "most fail-opens", OrgSort.MOST_FAILED_OPEN],
];

function asked(): OrgsAsked {
  const of = (name: string) => query.value.get(name) ?? "";
  const text = of("q").trim();
  return {
    // A star is the searcher's own; without one it is a beginning.
    match: text && (text.includes("*") ? text : `${text}*`),
    plan: of("plan"),
    state: STATES.find(([value]) => value === of("state"))?.[2] ?? OrgState.UNSPECIFIED,
    sort: SORTS.find(([value]) => value === of("sort"))?.[2] ?? OrgSort.UNSPECIFIED,
  };
}

type Shown = { orgs: Orgs | undefined; key: string; trouble: string; at: number; asking: boolean };

/** Asks page by page, and again when it is done; what was there stays until the new rows are. */
function useOrgs(): Shown {
  const shown = useSignal<Shown>({ orgs: undefined, key: "", trouble: "", at: 0, asking: true });
  const request = asked();
  const key = JSON.stringify(request);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const read = async () => {
      const began = performance.now();
      let took = 0;
      shown.value = { ...shown.peek(), asking: true };
      const most = request.sort ? MOST_SORTED : MOST_BY_NAME;
      try {
        const orgs = await call(
          (options) => collect(request, most, { ...options, timeoutMs: 60_000 }, (part) => {
            // The first pages are seen while the others come.
            if (shown.peek().key !== key && !stop.signal.aborted) shown.value = { orgs: part, key: "", trouble: "", at: current(), asking: true };
          }),
          stop.signal,
        );
        if (!stop.signal.aborted) shown.value = { orgs, key, trouble: "", at: current(), asking: false };
        took = performance.now() - began;
      } catch (error) {
        if (stop.signal.aborted) return;
        shown.value = { ...shown.peek(), trouble: sentence(ConnectError.from(error)), asking: false };
      }
      if (stop.signal.aborted) return;
      timer = setTimeout(again, Math.max(EVERY, took * 10));
    };
    const again = () => {
      if (document.hidden) timer = setTimeout(again, EVERY);
      else void read();
    };
    timer = setTimeout(read, shown.peek().orgs ? TYPED : 0);
    let wasAway = away.peek() !== undefined;
    const unwatch = effect(() => {
      const isBack = wasAway && !away.value;
      wasAway = away.value !== undefined;
      if (!isBack || shown.peek().asking) return;
      clearTimeout(timer);
      timer = setTimeout(read, shown.peek().trouble ? AFTER_MISS : 0);
    });
    return () => {
      unwatch();
      stop.abort();
      clearTimeout(timer);
    };
  }, [key]);
  return shown.value;
}

export function OrgsPage() {
  const shown = useOrgs();
  const plans = useSource("plans", 60_000, (options) => admin.getNode({}, options));
  useEffect(() => {
    const typed = (event: globalThis.Event) => ask({ q: (event as CustomEvent<string>).detail });
    addEventListener("search", typed);
    return () => removeEventListener("search", typed);
  }, []);
  const of = (name: string) => query.value.get(name) ?? "";
  const isFiltered = ["q", "plan", "state"].some((name) => of(name));
  const rows = shown.orgs?.rows ?? [];
  // Some of all in the order of the store are not the first by their names.
  const isByName = shown.orgs?.complete ?? true;
  return (
    <>
      <header class="page">
        <h1>Orgs</h1>
        <p class="dim" role="status">{said(shown, isFiltered)}</p>
        <Only />
      </header>
      <div class="filters">
        <Choose label="State" value={of("state")} choices={STATES.map(([value, name]) => [value, name])} onPick={(state) => ask({ state }, true)} />
        <Choose
          label="Plan"
          value={of("plan")}
          choices={[["", "any plan"], ...(plans.data.value?.plans ?? []).map((plan): [string, string] => [plan, plan])]}
          onPick={(plan) => ask({ plan }, true)}
        />
        <Choose label="Order" value={of("sort")} choices={SORTS.map(([value, name]) => [value, value || isByName ? name : "as stored"])} onPick={(sort) => ask({ sort }, true)} />
        {isFiltered && <button type="button" class="small" onClick={() => ask({ q: "", plan: "", state: "" }, true)}>Clear filters</button>}
      </div>
      {shown.trouble && !shown.orgs && <p class="trouble">{shown.trouble}</p>}
      {rows.length > 0 && <Rows rows={rows} isOld={shown.trouble !== "" || isDown.value} />}
      {shown.orgs && rows.length === 0 && !shown.asking && (
        isFiltered ? (
          <Empty>
            No org is found{of("q") && <>: a name is found by its beginning, in upper and lower case as it is written; <code>*{of("q").replaceAll("*", "")}*</code> finds it anywhere in a name</>}.
          </Empty>
        ) : (
          <Empty command="tollgate acquire acme">Nothing is stored of any org yet. Each is here from its first call on:</Empty>
        )
      )}
      {!shown.orgs && !shown.trouble && <p class="loading" aria-busy="true">Loading</p>}
    </>
  );
}

function said(shown: Shown, isFiltered: boolean): string {
  if (!shown.orgs) return "";
  const { rows, read, failures, complete } = shown.orgs;
  const old = shown.trouble || isDown.value ? `, as of ${ago(shown.at)}${shown.trouble && `: ${shown.trouble}`}` : "";
  const trouble = (failures.length ? `, ${grouped(failures.length)} could not be read` : "") + old;
  if (!complete && shown.asking) return `${grouped(rows.length)} so far${old}`;
  const found = grouped(rows.length);
  // By their names alone only those that are found were read.
  if (isFiltered) return `${found} found${read > BigInt(rows.length) ? ` of ${grouped(read)}` : ""}${trouble}`;
  return rows.length < Number(read) || !complete ? `the first ${found} of ${complete ? counted(read, "org") : "more orgs"}${trouble}` : counted(rows.length, "org") + trouble;
}

/** Rows around what is seen; the others are room. */
const AROUND = 12;

function Rows({ rows, isOld }: { rows: OrgSummary[]; isOld: boolean }) {
  const body = useRef<HTMLTableSectionElement>(null);
  const range = useSignal({ from: 0, to: 60, height: 37 });
  useLayoutEffect(() => {
    const measure = () => {
      const element = body.current;
      if (!element) return;
      const height = element.querySelector<HTMLElement>("tr.row")?.getBoundingClientRect().height ?? range.peek().height;
      const top = -element.getBoundingClientRect().top;
      const from = Math.max(Math.floor(top / height) - AROUND, 0);
      const to = Math.ceil((top + innerHeight) / height) + AROUND;
      const before = range.peek();
      if (before.from !== from || before.to !== to || before.height !== height) range.value = { from, to, height };
    };
    measure();
    addEventListener("scroll", measure, { passive: true });
    addEventListener("resize", measure);
    return () => {
      removeEventListener("scroll", measure);
      removeEventListener("resize", measure);
    };
  }, [rows.length]);
  const { height } = range.value;
  const to = Math.min(range.value.to, rows.length);
  const from = Math.min(range.value.from, Math.max(to - 1, 0));
  return (
    <table class={`cards fixed orgs ${isOld ? "stale" : ""}`} aria-label="Orgs" aria-rowcount={rows.length + 1}>
      <thead>
        <tr>
          <th scope="col">Org</th>
          <th scope="col" class="w-plan">Plan</th>
          <th scope="col" class="w-states">State</th>
          <th scope="col">Fullest limit</th>
          <th scope="col" class="right w-share">Taken</th>
          <th scope="col" class="right w-num">Allowed today</th>
          <th scope="col" class="right w-num">Denied today</th>
          <th scope="col" class="right w-num">Fail-opens</th>
        </tr>
      </thead>
      <tbody ref={body}>
        {from > 0 && <tr class="room" aria-hidden="true" style={{ height: `${from * height}px` }} />}
        {rows.slice(from, to).map((row, index) => (
          <tr key={row.org} class="row" aria-rowindex={from + index + 2}>
            <th scope="row" class="ellipsis"><OrgLink org={row.org} name={row.name} /></th>
            <td data-name="Plan" class="ellipsis">{row.plan || <span class="dim">–</span>}</td>
            <td data-name="State" class="ellipsis">{row.states.length > 0 ? <States row={row} /> : <span class="dim">–</span>}</td>
            <td data-name="Fullest limit" class="mono ellipsis">{row.fullest ? words.named(row.fullest) : <span class="dim">–</span>}</td>
            <td data-name="Taken" class="right">{row.fullest ? <Share limit={row.fullest} /> : <span class="dim">–</span>}</td>
            <td data-name="Allowed today" class="right number">{grouped(row.allowedToday)}</td>
            <td data-name="Denied today" class={`right number ${row.deniedToday > 0n ? "red" : ""}`}>{grouped(row.deniedToday)}</td>
            <td data-name="Fail-opens" class={`right number ${row.failedOpenToday > 0n ? "amber" : ""}`}>{grouped(row.failedOpenToday)}</td>
          </tr>
        ))}
        {to < rows.length && <tr class="room" aria-hidden="true" style={{ height: `${(rows.length - to) * height}px` }} />}
      </tbody>
    </table>
  );
}
