// How full each limit is, when it is free again, and where it comes from.
import { useSignal } from "@preact/signals";
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import { LimitSource, type Limit } from "@gen/v1/gate_pb.js";
import type { Override } from "@gen/admin/v1/control_pb.js";
import { isDown } from "../api";
import { amount, counted } from "../format";
import { mayWrite } from "../login";
import { Empty, LimitBar, Loaded, Section, Share, Table, Tag, Time, Until } from "../parts";
import { act } from "../route";
import type { Source } from "../source";
import { level, pace, source, waits } from "../words";

const SHOWN = 24;

export function Limits({ of }: { of: Source<GetOrgResponse> }) {
  return (
    <Section title="Limits" id="limits" of={of}>
      <Loaded of={of}>{(data) => <Rows data={data} />}</Loaded>
    </Section>
  );
}

function Rows({ data }: { data: GetOrgResponse }) {
  const all = useSignal(false);
  // Those of upstream accounts are with their pools.
  const own = data.limits.filter((limit) => !limit.scope.startsWith("account/"));
  const accounts = data.limits.length - own.length;
  if (own.length === 0) return <Empty command={`tollgate org override set ${data.org} rate 1000 --for 1h`}>Nothing is limited for this org.</Empty>;
  // What is not shown is what nobody has to see.
  const shown = all.value || own.length <= SHOWN ? own : own.toSorted((a, b) => rank(a) - rank(b)).slice(0, SHOWN);
  return (
    <>
      <Table
        label="Limits"
        class="fixed limits"
        columns={[
          { name: "Limit", class: "w-limit" },
          { name: "Taken", class: "w-bar", hidden: true },
          { name: "Share", class: "w-share right" },
          { name: "Used / limit", class: "right w-used" },
          { name: "Resets in", class: "right w-wait" },
          { name: "From", class: "w-from" },
          { name: "Notes" },
          ...(mayWrite.value ? [{ name: "Change", class: "w-act", hidden: true }] : []),
        ]}
      >
        {shown.map((limit) => <Row key={`${limit.scope} ${limit.name}`} limit={limit} data={data} />)}
      </Table>
      {accounts > 0 && <p class="note">The limits of {accounts} upstream {accounts === 1 ? "account is" : "accounts are"} under <a href="#pools">Pools</a>.</p>}
      {own.length > SHOWN && (
        <button type="button" class="small" onClick={() => (all.value = !all.value)}>
          {all.value ? "Show fewer" : `Show all ${own.length} limits`}
        </button>
      )}
    </>
  );
}

function rank(limit: Limit): number {
  const { level: at } = level(limit);
  return at === "ok" || at === "none" ? (limit.limiting ? 0 : 3) : limit.limiting ? 0 : at === "over" ? 1 : 2;
}

function Row({ limit, data }: { limit: Limit; data: GetOrgResponse }) {
  const shown = (value: bigint) => amount(limit.meter, value);
  const overridden = data.overrides.find((each) => each.limit === limit.name && each.scope === limit.scope && each.grant === 0n);
  const grants = data.overrides.filter((each) => each.grant > 0n && each.limit === limit.name && each.scope === limit.scope);
  const about = { limit: limit.name, scope: limit.scope };
  return (
    <tr>
      <th scope="row">
        <span class="mono">{limit.name}</span>
        {limit.scope && <span class="scope mono">{limit.scope}</span>}
        <span class="sub">{limit.meter}, {limit.window}</span>
      </th>
      <td data-name="Taken"><LimitBar limit={limit} /></td>
      <td data-name="Share" class="right"><Share limit={limit} /></td>
      <td data-name="Used / limit" class="right number">
        <span data-used={`${limit.scope}${limit.scope && " "}${limit.name}`}>{shown(limit.used)}</span> / {limit.unlimited ? "unlimited" : shown(limit.amount)}
        {limit.reserved > 0n && <span class="sub">{shown(limit.reserved)} reserved</span>}
      </td>
      <td data-name="Resets in" class="right number">
        {!waits(limit) || limit.window === "concurrent" ? <span class="dim">–</span> : limit.resetsAtMs === 0n ? <span class="dim">never</span> : <Until at={limit.resetsAtMs} />}
      </td>
      <td data-name="From">
        {limit.source === LimitSource.OVERRIDE ? (
          <Tag tone="accent">override</Tag>
        ) : (
          source(limit.source)
        )}
        {limit.sourceUntilMs > 0n ? <span class="sub">ends <Time at={limit.sourceUntilMs} quiet /></span> : overridden && <span class="sub">until cleared</span>}
        {overridden?.reason && <span class="sub">reason: {overridden.reason}</span>}
      </td>
      <td data-name="Notes" class="notes"><Notes limit={limit} grants={grants} /></td>
      {mayWrite.value && (
        <td class="acts">
          <button type="button" class="small" aria-label={`Override ${limit.name} ${limit.scope}`} onClick={() => act("override", about)}>Override</button>
          {overridden && (
            <button type="button" class="small" aria-label={`Clear the override of ${limit.name} ${limit.scope}`} onClick={() => act("clear", { ...about })}>Clear</button>
          )}
          {limit.window !== "concurrent" && (
            <button type="button" class="small" aria-label={`Reset the window of ${limit.name} ${limit.scope}`} onClick={() => act("reset", about)}>Reset</button>
          )}
          {grants.map((each) => (
            <button key={String(each.grant)} type="button" class="small" aria-label={`Revoke +${shown(each.amount ?? 0n)} of ${limit.name} ${limit.scope}, grant ${each.grant}`} onClick={() => act("revoke", { ...about, id: String(each.grant) })}>
              Revoke +{shown(each.amount ?? 0n)}
            </button>
          ))}
        </td>
      )}
    </tr>
  );
}

function Notes({ limit, grants }: { limit: Limit; grants: Override[] }) {
  const shown = (value: bigint) => amount(limit.meter, value);
  return (
    <>
      {limit.runsOutAtMs > 0n && !isDown.value && <span class="amber">runs out <Time at={limit.runsOutAtMs} /> at the pace of {pace(limit)}</span>}
      {limit.blocked > 0n && <span>{counted(limit.blocked, "call")} denied in this window</span>}
      {limit.stale && <span class="amber">stale</span>}
      {limit.countsFromMs > 0n && <span>counts from <Time at={limit.countsFromMs} /></span>}
      {limit.granted > 0n && grants.length === 0 && <span>{shown(limit.granted)} granted</span>}
      {limit.grantedUntilSpent > 0n && <span>{shown(limit.grantedLeft)} left of {shown(limit.grantedUntilSpent)} granted until spent</span>}
      {grants.map((each) => (
        <span key={String(each.grant)}>
          grant of {shown(each.amount ?? 0n)}: {each.reason ? `reason: ${each.reason}` : "no reason"}{each.spent === undefined && each.untilMs > 0n && <>, ends <Time at={each.untilMs} /></>}
        </span>
      ))}
      {limit.carried > 0n && <span>{shown(limit.carried)} carried over</span>}
      {limit.buffer > 0n && <span>buffer {shown(limit.buffer)}</span>}
    </>
  );
}
