// Is the fleet well, and who is being turned away?
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { OrgSort, OrgState, type OrgSummary } from "@gen/admin/v1/admin_pb.js";
import { admin, isDown } from "./api";
import { collect, type Orgs } from "./collect";
import { grouped, hourOf, rate } from "./format";
import { NotForYou, readCounters, type Counters } from "./metrics";
import { Empty, Loaded, Only, OrgLink, Section, Share, Table, Tag, Time } from "./parts";
import { RatePlot, type Series } from "./plot";
import { useSource, type Source } from "./source";
import { events, useEvents } from "./stream";
import { byNode } from "./time";
import * as words from "./words";

const EVERY = 3000;
const KEPT = 60 * 60_000;
const ROWS = 10;

export function Fleet() {
  return (
    <>
      <header class="page">
        <h1>Fleet</h1>
        <Only />
      </header>
      <Rates />
      <div class="beside">
        <MostDenied />
        <Nearest />
      </div>
      <div class="beside">
        <Nodes />
        <Lately />
      </div>
    </>
  );
}

/** What was read, over screens: the plot goes on where it was left. */
let kept: Counters[] = [];

function Rates() {
  const counters = useSignal(kept);
  const refused = useSignal("");
  useEffect(() => {
    const stop = new AbortController();
    let isReading = false;
    const read = async () => {
      if (document.hidden || isReading) return;
      isReading = true;
      try {
        const now = await readCounters(stop.signal);
        const from = kept.at(-1)?.startedAt === now.startedAt ? kept.filter((each) => each.at > now.at - KEPT) : [];
        counters.value = kept = [...from, now];
        refused.value = "";
      } catch (error) {
        if (error instanceof NotForYou) refused.value = error.message;
      } finally {
        isReading = false;
      }
    };
    void read();
    const timer = setInterval(read, EVERY);
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, []);
  if (refused.value) {
    return (
      <section class="section" aria-label="Decisions">
        <p class="dim">Decisions per second are not shown: {refused.value}.</p>
      </section>
    );
  }
  const series = differences(counters.value);
  const last = counters.value.at(-1);
  const latest = (of: (number | null)[]) => (isDown.value ? undefined : of.at(-1) ?? undefined);
  return (
    <section class="section" aria-label="Decisions of this node">
      <dl class="tiles">
        <Tile name="decisions" key_="decisions" value={latest(series.decisions)} total={last && last.allowed + last.denied} />
        <Tile name="denials" key_="denials" value={latest(series.denials)} total={last?.denied} tone={latest(series.denials) ? "red" : ""} />
        <Tile name="fail-opens" key_="opens" value={latest(series.opens)} total={last?.failOpen} tone={latest(series.opens) ? "amber" : ""} />
      </dl>
      <RatePlot series={series} />
      <p class="note">
        Of the node that answers: totals since its start{last?.startedAt ? <>, <Time at={last.startedAt} quiet /></> : ""}; rates while this page is open, read every 3
        seconds, for at most an hour.
        {last && last.denied > 0 && <> Denied by {gates(last)}.</>}
        {last && last.emergency > 0 && <> The emergency cap denied {grouped(last.emergency)}.</>}
      </p>
    </section>
  );
}

function gates(last: Counters): string {
  const counted = Object.entries(last.byGate).filter(([, count]) => count > 0);
  return counted.sort((a, b) => b[1] - a[1]).map(([gate, count]) => `${gate} ${grouped(count)}`).join(", ");
}

function differences(counters: Counters[]): Series {
  const series: Series = { at: [], decisions: [], denials: [], opens: [] };
  counters.forEach((each, index) => {
    const before = counters[index - 1];
    const seconds = before ? (each.at - before.at) / 1000 : 0;
    // The page was in the background: what happened meanwhile is no rate.
    const is_gap = !before || seconds <= 0 || seconds > 5 * (EVERY / 1000);
    const per = (of: (counters: Counters) => number) => (is_gap ? null : (of(each) - of(before)) / seconds);
    series.at.push(byNode(each.at));
    series.decisions.push(per((of) => of.allowed + of.denied));
    series.denials.push(per((of) => of.denied));
    series.opens.push(per((of) => of.failOpen));
  });
  return series;
}

function Tile(props: { name: string; key_: string; value: number | undefined; total: number | undefined; tone?: string }) {
  return (
    <div>
      <dt>
        <span class={`stroke ${props.key_}`} aria-hidden="true" /> {props.name}
      </dt>
      <dd>
        <span class="now">
          <span class={`big number ${props.tone ?? ""}`} data-rate={props.key_}>{props.value === undefined ? "–" : rate(props.value)}</span>
          <span class="dim">/s</span>
        </span>
        <span class="total number" data-total={props.key_}>{props.total === undefined ? "–" : grouped(props.total)}</span>
        <span class="dim">total</span>
      </dd>
    </div>
  );
}

function useFirst(name: string, sort: OrgSort): Source<Orgs> {
  const source = useSource(`first ${name}`, 5000, (options) => collect({ sort }, ROWS, options));
  useEvents((event) => {
    if (/denials|limit|exhausted|recovered|operator/.test(event.kind)) source.refresh();
  }, [source]);
  return source;
}

export function States({ row }: { row: OrgSummary }) {
  return (
    <>
      {row.states.map((state) => (
        <Tag key={state} tone={TONES[state] ?? "plain"}>{words.org(state)}</Tag>
      ))}
    </>
  );
}

const TONES: Partial<Record<OrgState, "red" | "amber" | "accent">> = {
  [OrgState.FROZEN]: "red",
  [OrgState.BLOCKED]: "red",
  [OrgState.DENIED]: "amber",
  [OrgState.NEAR]: "amber",
  [OrgState.OVERRIDDEN]: "accent",
};

function MostDenied() {
  const source = useFirst("denied", OrgSort.MOST_DENIED);
  return (
    <Section title="Most denied today" of={source} aside={<a href="/orgs?sort=denied">All</a>}>
      <Loaded of={source}>
        {({ rows }) => {
          const denied = rows.filter((row) => row.deniedToday > 0n);
          if (denied.length === 0) return <Empty command="tollgate org list --most-denied">No call was denied today (UTC).</Empty>;
          return (
            <Table
              label="Orgs with the most denied calls today"
              class="fixed"
              columns={[{ name: "Org" }, { name: "State", class: "w-state" }, { name: "Denied", class: "right w-small" }, { name: "Allowed", class: "right w-small" }]}
            >
              {denied.map((row) => (
                <tr key={row.org}>
                  <th scope="row" class="ellipsis"><OrgLink org={row.org} name={row.name} /></th>
                  <td data-name="State"><States row={row} /></td>
                  <td data-name="Denied" class="right number red">{grouped(row.deniedToday)}</td>
                  <td data-name="Allowed" class="right number">{grouped(row.allowedToday)}</td>
                </tr>
              ))}
            </Table>
          );
        }}
      </Loaded>
    </Section>
  );
}

function Nearest() {
  const source = useFirst("used", OrgSort.MOST_USED);
  return (
    <Section title="Nearest to a limit" of={source} aside={<a href="/orgs?sort=used">All</a>}>
      <Loaded of={source}>
        {({ rows }) => {
          const near = rows.filter((row) => row.fullest && row.usedPercent > 0n);
          if (near.length === 0) return <Empty command="tollgate status --near">Nothing of any limit is used.</Empty>;
          return (
            <Table label="Orgs that are nearest to a limit" class="fixed" columns={[{ name: "Org" }, { name: "Limit" }, { name: "Taken", class: "right w-share" }]}>
              {near.map((row) => (
                <tr key={row.org}>
                  <th scope="row" class="ellipsis"><OrgLink org={row.org} name={row.name} /></th>
                  <td data-name="Limit" class="mono ellipsis">{row.fullest && words.named(row.fullest)}</td>
                  <td data-name="Taken" class="right">{row.fullest && <Share limit={row.fullest} />}</td>
                </tr>
              ))}
            </Table>
          );
        }}
      </Loaded>
    </Section>
  );
}

function Nodes() {
  const source = useSource("cluster", 3000, (options) => admin.getCluster({}, options));
  return (
    <Section title="Nodes" of={source} aside={<a href="/cluster">Cluster</a>}>
      <Loaded of={source}>
        {(cluster) => (
          <>
            {cluster.drift.map((drift) => <p key={drift} class="trouble">{drift}</p>)}
            {cluster.cells.length === 0 ? (
              <p>
                <span class="mono">{cluster.node}</span> is a single node and serves every org.
              </p>
            ) : (
              <p class={cluster.shardsFree > 0n ? "trouble" : ""}>
                {grouped(cluster.shardsOwned)} of {grouped(cluster.shardsTotal)} shards have an owner
                {cluster.shardsFree > 0n && `, ${grouped(cluster.shardsFree)} have none`}.
              </p>
            )}
            {cluster.nodes.length > 0 && (
              <Table label="Nodes" columns={[{ name: "Node" }, { name: "State" }, { name: "Shards", class: "right" }, { name: "Version" }]}>
                {cluster.nodes.map((node) => (
                  <tr key={node.name}>
                    <th scope="row" class="mono">{node.name}</th>
                    <td data-name="State"><Tag tone={node.state === 1 ? "green" : node.state === 3 ? "red" : "amber"}>{words.node(node.state)}</Tag></td>
                    <td data-name="Shards" class="right number">{grouped(node.shards)}</td>
                    <td data-name="Version" class="mono">{node.version}</td>
                  </tr>
                ))}
              </Table>
            )}
          </>
        )}
      </Loaded>
    </Section>
  );
}

function Lately() {
  const rows = events.value.slice(0, ROWS);
  return (
    <Section title="Lately" aside={<a href="/events">All events</a>}>
      {rows.length === 0 ? (
        <Empty command="tollgate events --follow">Nothing has happened since this page was opened.</Empty>
      ) : (
        <ul class="lately">
          {rows.map((event) => (
            <li key={`${event.org} ${event.node} ${event.number}`}>
              <p>
                <time class="dim number" title={String(event.atMs)}>{hourOf(Number(event.atMs))}</time>{" "}
                {event.org ? <OrgLink org={event.org} /> : <span class="mono">{event.node}</span>} {event.message}
              </p>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}
