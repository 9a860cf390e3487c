// What happened to the org, and what operators have changed, the newest first.
import { useEffect } from "preact/hooks";
import type { CallOptions } from "@connectrpc/connect";
import type { Event } from "@gen/admin/v1/events_pb.js";
import { admin } from "../api";
import { EventRows, stamp } from "../events";
import { Empty, Loaded, Section, Table } from "../parts";
import { useSource } from "../source";

const SHOWN = 50;

/** The newest of a log that is read from its beginning. */
async function newest(org: string, options: CallOptions): Promise<Event[]> {
  const { newestNumber } = await admin.listEvents({ org, pageSize: 1 }, options);
  const afterNumber = newestNumber > BigInt(SHOWN) ? newestNumber - BigInt(SHOWN) : 0n;
  const { events } = await admin.listEvents({ org, afterNumber, pageSize: SHOWN }, options);
  return events.reverse();
}

export function Log({ org, changes }: { org: string; changes: number }) {
  const source = useSource(`log ${org}`, 15_000, (options) => newest(org, options));
  useEffect(() => source.refresh(), [changes]);
  return (
    <Section title="Events" id="events" of={source} aside={<a href={`/events?org=${encodeURIComponent(org)}`}>Live</a>}>
      <Loaded of={source}>
        {(rows) => (rows.length === 0 ? <Empty command={`tollgate events ${org}`}>Nothing has happened to this org within 7 days.</Empty> : <EventRows rows={rows} />)}
      </Loaded>
    </Section>
  );
}

/** Every page, because the log begins with the oldest; it is bounded. */
async function changesOf(org: string, options: CallOptions): Promise<Event[]> {
  const all: Event[] = [];
  let afterNumber = 0n;
  for (let page = 0; page < 20; page += 1) {
    const answer = await admin.listAudit({ org, afterNumber, pageSize: 1000 }, options);
    all.push(...answer.events);
    if (answer.nextAfterNumber === 0n) break;
    afterNumber = answer.nextAfterNumber;
  }
  return all.reverse();
}

export function AuditTrail({ org, changes }: { org: string; changes: number }) {
  const source = useSource(`audit ${org}`, 60_000, (options) => changesOf(org, options));
  useEffect(() => source.refresh(), [changes]);
  return (
    <Section title="Audit trail" id="audit-trail" of={source}>
      <Loaded of={source}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty command={`tollgate org changes ${org}`}>No operator has changed anything of this org.</Empty>
          ) : (
            <>
              <Table
                label="Audit trail"
                class="fixed"
                columns={[{ name: "At (UTC)", class: "w-at" }, { name: "By", class: "w-org" }, { name: "Command", class: "w-kind" }, { name: "Old → new" }, { name: "Reason" }]}
              >
                {rows.slice(0, SHOWN).map((event) => (
                  <tr key={String(event.number)}>
                    <td data-name="At" class="number dim" title={new Date(Number(event.atMs)).toISOString()}>{stamp(Number(event.atMs))}</td>
                    <td data-name="By" class="mono ellipsis">{event.caller}</td>
                    <td data-name="Command" class="mono">{event.command}</td>
                    <td data-name="Old → new">
                      {event.changes.length === 0
                        ? event.message
                        : event.changes.map((change) => (
                            <span key={change.field} class="change">
                              <span class="mono">{change.field}</span> {change.old || "none"} → {change.new || "none"}
                            </span>
                          ))}
                    </td>
                    <td data-name="Reason">{event.reason || <span class="dim">–</span>}</td>
                  </tr>
                ))}
              </Table>
              {rows.length > SHOWN && <p class="note">The newest {SHOWN} of {rows.length}; <code>tollgate org changes {org}</code> has all.</p>}
            </>
          )
        }
      </Loaded>
    </Section>
  );
}
