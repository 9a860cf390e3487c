// Why is this org denied, since when, until when, and what can be done?
import { useSignal } from "@preact/signals";
import { Code } from "@connectrpc/connect";
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import { WayKind, type Block, type Way, type WhyResponse } from "@gen/admin/v1/explain_pb.js";
import { DecisionCode, type GetStatusResponse } from "@gen/v1/gate_pb.js";
import { admin, gate, sessions } from "../api";
import { counted, grouped } from "../format";
import { mayWrite } from "../login";
import { Command, Empty, isStale, Tag, Time, When } from "../parts";
import { act } from "../route";
import { useSource, type Source } from "../source";
import { useEvents } from "../stream";
import { now } from "../time";
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

export type OrgSources = { org: Source<GetOrgResponse>; why: Source<WhyResponse>; status: Source<GetStatusResponse>; refresh: () => void };

export function OrgPage({ org }: { org: string }) {
  const source = useSource(`org ${org}`, EVERY, (options) => admin.getOrg({ org }, options));
  const why = useSource(`why ${org}`, EVERY, (options) => admin.why({ org }, options));
  const status = useSource(`status ${org}`, EVERY, (options) => gate.getStatus({ org }, options));
  const start = useSource(`start ${org}`, EVERY, (options) => sessions.batchStatus({ items: [{ org }] }, options));
  const changes = useSignal(0);
  const refresh = () => {
    source.refresh();
    why.refresh();
    status.refresh();
    start.refresh();
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
  const sources = { org: source, why, status, refresh };
  return (
    <>
      <Head org={org} sources={sources} />
      <Contents />
      <Limits of={source} />
      <Budgets org={org} of={source} changes={changes.value} />
      <Why org={org} sources={sources} changes={changes.value} />
      <Sessions of={source} status={start} />
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
  const status = sources.status.data.value;
  const today = why?.days.at(-1);
  const denied = today?.gates.reduce((sum, gate) => sum + gate.denied, 0n) ?? 0n;
  const isToday = today && Number(today.startMs) > now.value - 86_400_000;
  return (
    <header class={`org ${isStale(sources.org) ? "stale" : ""}`}>
      <div class="title">
        <h1 class="mono">{data?.name || data?.org || org}</h1>
        {data?.plan && <Tag tone="plain">plan {data.plan}</Tag>}
        {data?.frozen && <Tag tone="red">frozen</Tag>}
        {data?.overrides.some((each) => each.limit !== "freeze") && <Tag tone="accent">overridden</Tag>}
      </div>
      {data?.name && data.name !== data.org && <p class="dim">id <span class="mono">{data.org}</span></p>}
      <p class="state" role="status">{why && status ? <State status={status} why={why} data={data} /> : " "}</p>
      <p class="dim">
        {isToday ? <>Today (UTC) <span class="number">{grouped(today.allowed)}</span> allowed, <span class="number" id="denied-today">{grouped(denied)}</span> denied</> : "Nothing was decided today (UTC)"}
        {data && <> · <span class="number" id="admitted">{grouped(data.admittedTotal)}</span> admitted since the org was first seen</>}
      </p>
      {mayWrite.value && data && <Actions data={data} />}
    </header>
  );
}

/** One sentence: whether the org is blocked, as `tollgate status` says it of one more execution, by what, since when and until when. */
function State({ status, why, data }: { status: GetStatusResponse; why: WhyResponse; data: GetOrgResponse | undefined }) {
  const { blocks } = why;
  // A call that names no scope is no measure of an org whose calls have to.
  const isBlocked = !status.allowed && status.code !== DecisionCode.SCOPE_REQUIRED;
  const ofOrg = blocks.filter(({ now }) => now?.code === status.code && !now.asked?.scopes.length && !now.asked?.pool);
  const block = (isBlocked ? ofOrg[0] : undefined) ?? blocks[0];
  if (status.frozen) {
    return (
      <>
        <span class="red">Frozen</span>{data?.freezeReason && ` (${data.freezeReason})`}
        {block?.now?.code === DecisionCode.FROZEN && <Counts block={block} />}
        {data && data.frozenUntilMs > 0n ? <>; ends <Time at={data.frozenUntilMs} /></> : "; until it is unfrozen"}.
      </>
    );
  }
  if (!block?.now) {
    const last = why.over[0];
    if (isBlocked) return <><span class="red">Blocked</span>: {status.message}</>;
    return (
      <>
        <span class="green">Not blocked</span>
        {last ? <>: was denied by {by(last)}, the last time <Time at={last.lastAtMs} />.</> : ", and nothing was denied within 7 days."}
      </>
    );
  }
  const denial = block.now;
  const others = blocks.length - 1;
  return (
    <>
      {isBlocked ? <><span class="red">Blocked</span> by </> : <><span class="amber">Some calls are denied</span>: by </>}
      <span class="mono">{by(denial)}</span>{others > 0 && `, and by ${grouped(others)} more`}
      <Counts block={block} />
      {denial.untilMs > 0n ? <>; fits again <Time at={denial.untilMs} /></> : denial.neverFits ? "; never fits while the limit stands" : "; until somebody acts"}.
    </>
  );
}

function Counts({ block }: { block: Block }) {
  if (block.count === 0n) return <>; no call has asked for it within 7 days</>;
  if (block.count === 1n) return <>; 1 call, <Time at={block.lastAtMs} /></>;
  return <>; {counted(block.count, "call")}, the first <Time at={block.sinceMs} />, the last <Time at={block.lastAtMs} /></>;
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

/** What lets a call through. What stands in its way all has to go; to wait or to reserve less is enough instead. */
export function Ways({ ways }: { ways: Way[] }) {
  const instead = ways.filter(({ kind }) => kind === WayKind.WAIT || kind === WayKind.ASK_LESS);
  const needed = ways.filter((way) => !instead.includes(way) && way.kind !== WayKind.SESSION_ENDS);
  const ends = ways.find(({ kind }) => kind === WayKind.SESSION_ENDS);
  if (ways.length === 0) return null;
  return (
    <div class="ways">
      <h4>To let it through</h4>
      {needed.length > 1 && <p>All of these:</p>}
      <ul>
        {needed.map((way) => (
          <li key={way.text}>
            {way.text}
            {mayWrite.value && way.limit && way.by > 0n && (
              <>{" "}<button type="button" class="small" onClick={() => act("override", { limit: way.limit, scope: way.scope, raise: String(way.by) })}>Override</button></>
            )}
            {mayWrite.value && way.kind === WayKind.UNFREEZE && <>{" "}<button type="button" class="small" onClick={() => act("unfreeze")}>Unfreeze</button></>}
            {way.command && <Command text={way.command} />}
            {ends && way.limit === "sessions" && <p>Or {lowered(ends.text)}</p>}
          </li>
        ))}
        {ends && !needed.some((way) => way.limit === "sessions") && <li>{ends.text}</li>}
        {instead.map((way) => (
          <li key={way.text}>
            {needed.length > 0 && "Or "}
            {way.atMs > 0n ? <>wait until <When at={way.atMs} />.</> : lowered(way.text)}
          </li>
        ))}
      </ul>
    </div>
  );
}

const lowered = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
