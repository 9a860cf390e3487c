// Why is this org denied, since when, until when, and what can be done?
import { useSignal } from "@preact/signals";
import { Code } from "@connectrpc/connect";
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import type { WhyResponse } from "@gen/admin/v1/explain_pb.js";
import { admin, sessions } from "../api";
import { grouped } from "../format";
import { mayWrite } from "../login";
import { Command, Empty, Tag, Time } from "../parts";
import { ask } from "../route";
import { useSource, type Source } from "../source";
import { useEvents } from "../stream";
import { by } from "../words";
import { Writing } from "../write/writing";
import { Budgets } from "./budgets";
import { Limits } from "./limits";
import { AuditTrail, Log } from "./log";
import { Pools } from "./pools";
import { Reservations, Sessions } from "./sessions";
import { Usage } from "./usage";
import { Why } from "./why";

const EVERY = 2000;

export type OrgSources = { org: Source<GetOrgResponse>; why: Source<WhyResponse>; refresh: () => void };

/** Opens the panel of a change. */
export function act(what: string, about: Record<string, string> = {}): void {
  ask({ do: what, limit: "", scope: "", amount: "", id: "", ...about }, true);
}

export function OrgPage({ org }: { org: string }) {
  const source = useSource(`org ${org}`, EVERY, (options) => admin.getOrg({ org }, options));
  const why = useSource(`why ${org}`, EVERY, (options) => admin.why({ org }, options));
  const status = useSource(`start ${org}`, EVERY, (options) => sessions.batchStatus({ items: [{ org }] }, options));
  const changes = useSignal(0);
  const refresh = () => {
    source.refresh();
    why.refresh();
    status.refresh();
    changes.value += 1;
  };
  useEvents((event) => {
    if (event.org === org || event.org === source.data.peek()?.org) refresh();
  }, [source]);
  const data = source.data.value;
  const error = source.error.value;
  if (!data && error) {
    return (
      <>
        <h1 class="mono">{org}</h1>
        {error.thrown.code === Code.NotFound ? (
          <Empty command={`tollgate acquire ${org}`}>Nothing is stored of an org of this name. Is the name right? An org is here from its first call on:</Empty>
        ) : (
          <p class="trouble" role="alert">{error.text}</p>
        )}
      </>
    );
  }
  const sources = { org: source, why, refresh };
  return (
    <>
      <Head org={org} sources={sources} />
      <Contents />
      <Limits of={source} />
      <Budgets org={org} of={source} changes={changes.value} />
      <Why org={org} sources={sources} changes={changes.value} />
      <Sessions of={source} status={status} />
      <Reservations of={source} org={org} />
      <Pools org={org} of={source} />
      <Usage org={org} />
      <Log org={org} changes={changes.value} />
      <AuditTrail org={org} changes={changes.value} />
      {mayWrite.value && <Writing org={org} of={source} done={refresh} />}
    </>
  );
}

const PARTS = ["Limits", "Budgets", "Why", "Sessions", "Reservations", "Pools", "Usage", "Events", "Audit trail"];

export const partId = (title: string) => title.toLowerCase().replaceAll(" ", "-");

function Contents() {
  return (
    <nav class="contents" aria-label="Parts of this screen">
      {PARTS.map((part) => <a key={part} href={`#${partId(part)}`}>{part}</a>)}
    </nav>
  );
}

function Head({ org, sources }: { org: string; sources: OrgSources }) {
  const data = sources.org.data.value;
  const why = sources.why.data.value;
  const today = why?.days.at(-1);
  const denied = today?.gates.reduce((sum, gate) => sum + gate.denied, 0n) ?? 0n;
  const isToday = today && Number(today.startMs) > Date.now() - 86_400_000;
  return (
    <header class={`org ${sources.org.old.value || sources.org.error.value ? "stale" : ""}`}>
      <div class="title">
        <h1 class="mono">{data?.name || data?.org || org}</h1>
        {data?.plan && <Tag tone="plain">plan {data.plan}</Tag>}
        {data?.frozen && <Tag tone="red">frozen</Tag>}
        {(data?.overrides.length ?? 0) > 0 && <Tag tone="accent">overridden</Tag>}
      </div>
      {data?.name && data.name !== data.org && <p class="dim">id <span class="mono">{data.org}</span></p>}
      <p class="state" role="status">{why ? <State why={why} data={data} /> : " "}</p>
      <p class="dim">
        {isToday ? <>Today (UTC) <span class="number">{grouped(today.allowed)}</span> allowed, <span class="number" id="denied-today">{grouped(denied)}</span> denied</> : "Nothing was decided today (UTC)"}
        {data && <> · <span class="number" id="admitted">{grouped(data.admittedTotal)}</span> admitted since the org was first seen</>}
      </p>
      {mayWrite.value && data && <Actions data={data} />}
    </header>
  );
}

/** One sentence: blocked or not, by what, since when and until when. */
function State({ why, data }: { why: WhyResponse; data: GetOrgResponse | undefined }) {
  const block = why.blocks[0];
  if (!block?.now) {
    const last = why.over[0];
    return (
      <>
        <span class="green">Not blocked</span>
        {last ? <>: was denied by {by(last)}, the last time <Time at={last.lastAtMs} />.</> : ", and nothing was denied within 7 days."}
      </>
    );
  }
  const { now } = block;
  const others = why.blocks.length - 1;
  const frozen = now.gate === "freeze" && data?.freezeReason ? ` (${data.freezeReason})` : "";
  return (
    <>
      <span class="red">Blocked</span> by <span class="mono">{by(now)}</span>{frozen}{others > 0 && `, and by ${others} more`}
      {block.count === 0n && ": no call has asked for it within 7 days"}
      {block.count === 1n && <>: 1 call denied, <Time at={block.lastAtMs} /></>}
      {block.count > 1n && <>: {grouped(block.count)} calls denied, the first <Time at={block.sinceMs} />, the last <Time at={block.lastAtMs} /></>}
      {now.untilMs > 0n ? <>; fits again <Time at={now.untilMs} /></> : now.neverFits ? "; never fits while the limit stands" : "; until somebody acts"}.
    </>
  );
}

function Actions({ data }: { data: GetOrgResponse }) {
  return (
    <div class="actions" role="group" aria-label="Changes">
      <button type="button" onClick={() => act("override")}>Override</button>
      <button type="button" onClick={() => act("grant")}>Grant</button>
      <button type="button" onClick={() => act("refund")}>Refund</button>
      <button type="button" onClick={() => act("plan")}>Plan</button>
      <button type="button" onClick={() => act("exempt")}>Exempt</button>
      {data.frozen ? (
        <button type="button" onClick={() => act("unfreeze")}>Unfreeze</button>
      ) : (
        <button type="button" onClick={() => act("freeze")}>Freeze</button>
      )}
      <button type="button" class="danger" onClick={() => act("delete")}>Delete</button>
    </div>
  );
}

export function Ways({ ways }: { ways: { text: string; command: string; kind: number; limit: string; scope: string; by: bigint }[] }) {
  if (ways.length === 0) return null;
  return (
    <div class="ways">
      <h4>To let it through</h4>
      <ul>
        {ways.map((way) => (
          <li key={way.text}>
            {way.text}
            {mayWrite.value && way.limit && way.by > 0n && (
              <>{" "}<button type="button" class="small" onClick={() => act("override", { limit: way.limit, scope: way.scope, by: String(way.by) })}>Override</button></>
            )}
            {mayWrite.value && way.kind === 3 && <>{" "}<button type="button" class="small" onClick={() => act("unfreeze")}>Unfreeze</button></>}
            {way.command && <Command text={way.command} />}
          </li>
        ))}
      </ul>
    </div>
  );
}
