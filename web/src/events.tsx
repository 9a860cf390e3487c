// What happens, as it happens.
import { useSignal } from "@preact/signals";
import type { Event } from "@gen/admin/v1/events_pb.js";
import { dayOf, secondOf } from "./format";
import { Empty, OrgLink, Choose, Only, Table } from "./parts";
import { ask, query } from "./route";
import { events, live } from "./stream";
import { current } from "./time";

const KINDS = [
  "operator", "near_limit", "exhausted", "over_limit", "recovered", "denials_began", "denials_ended", "fail_open", "session_started",
  "session_warned", "session_stopped", "session_ended", "session_expired", "account_exhausted", "account_usable", "pool_exhausted",
  "pool_usable", "trial_ended", "drift", "override_ended", "over_admitted", "left_out", "store_trouble", "store_recovered",
  "clock_trouble", "clock_steady",
];
const SHOWN = 300;

/** Kinds that somebody should see first. */
export function tone(kind: string): string {
  if (/exhausted|began|over_|trouble|drift|stopped/.test(kind)) return "red";
  if (/near|warned|fail_open|expired|left_out/.test(kind)) return "amber";
  if (/recovered|usable|steady/.test(kind)) return "green";
  return kind === "operator" || kind === "override_ended" ? "accent" : "plain";
}

export const kindName = (kind: string) => kind.replaceAll("_", " ");

export function EventsPage() {
  const paused = useSignal<Event[] | undefined>(undefined);
  const [kind, org] = [query.value.get("kind") ?? "", query.value.get("org") ?? ""];
  const all = paused.value ?? events.value;
  const rows = all.filter((event) => (!kind || event.kind === kind) && (!org || event.org.startsWith(org)));
  const waiting = paused.value ? events.value.length - paused.value.length : 0;
  const state = !live.value.open ? "connecting" : paused.value ? `paused, ${waiting} more since` : "live";
  return (
    <>
      <header class="page">
        <h1>Events</h1>
        <p class="dim" role="status">{state}, {rows.length} shown; from ten minutes before this page was opened</p>
        <Only />
      </header>
      <div class="filters">
        <label class="pick">
          <span>Org begins with</span>
          <input type="text" value={org} spellcheck={false} autocomplete="off" onInput={(event) => ask({ org: event.currentTarget.value })} />
        </label>
        <Choose label="Kind" value={kind} choices={[["", "all kinds"], ...KINDS.map((each): [string, string] => [each, kindName(each)])]} onPick={(kind) => ask({ kind }, true)} />
        <button type="button" aria-pressed={paused.value !== undefined} onClick={() => (paused.value = paused.value ? undefined : events.value)}>
          {paused.value ? "Go on" : "Pause"}
        </button>
      </div>
      {rows.length === 0 ? (
        <Empty command="tollgate events --follow">{kind || org ? "No event of these filters has come yet." : "Nothing has happened yet: limits that are reached, denials, sessions and changes by operators are shown here."}</Empty>
      ) : (
        <EventRows rows={rows.slice(0, SHOWN)} ofMany />
      )}
      {rows.length > SHOWN && <p class="note">The newest {SHOWN} of {rows.length}. The log of an org is on its own screen.</p>}
    </>
  );
}

export function EventRows({ rows, ofMany }: { rows: Event[]; ofMany?: boolean }) {
  const columns = [
    { name: "At (UTC)", class: "w-at" },
    ...(ofMany ? [{ name: "Org", class: "w-org" }] : []),
    { name: "Kind", class: "w-kind" },
    { name: "Event" },
  ];
  return (
    <Table label="Events" class="fixed events" columns={columns}>
      {rows.map((event) => (
        <tr key={`${event.org} ${event.node} ${event.number}`}>
          <td class="number dim" data-name="At" title={new Date(Number(event.atMs)).toISOString()}>{stamp(Number(event.atMs))}</td>
          {ofMany && <td data-name="Org" class="ellipsis">{event.org ? <OrgLink org={event.org} /> : <span class="mono">{event.node}</span>}</td>}
          <td data-name="Kind"><span class={`kind ${tone(event.kind)}`}>{kindName(event.kind)}</span></td>
          <td data-name="Event">{event.message}</td>
        </tr>
      ))}
    </Table>
  );
}

/** `14:03:07`, with its day where that is not this one. */
export function stamp(at: number): string {
  const iso = new Date(at).toISOString();
  return iso.slice(0, 10) === dayOf(current()) ? secondOf(at) : `${iso.slice(5, 10)} ${secondOf(at)}`;
}
