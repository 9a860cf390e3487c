// Why calls are denied: what blocks now, and the last denials with what each gate said.
import { Fragment } from "preact";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { DecisionCode } from "@gen/v1/gate_pb.js";
import type { Block, Denial, GateReport } from "@gen/admin/v1/explain_pb.js";
import { admin } from "../api";
import { amount, grouped } from "../format";
import { Empty, Facts, Loaded, Section, Table, Tag, Time, When } from "../parts";
import { ask, query } from "../route";
import { useSource } from "../source";
import { by, causes, code, limitOf, standing } from "../words";
import { Ways, type OrgSources } from "./page";

const SHOWN = 50;
/** What blocks now and is shown in full; the others are asked for. */
const BLOCKS = 3;

export function Why({ org, sources, changes }: { org: string; sources: OrgSources; changes: number }) {
  const letThrough = query.value.get("through") === "1";
  const denials = useSource(`denials ${org} ${letThrough}`, 4000, (options) => admin.listDenials({ org, letThrough, pageSize: SHOWN }, options));
  useEffect(() => denials.refresh(), [changes]);
  const blocks = sources.why.data.value?.blocks ?? [];
  const all = useSignal(false);
  const aside = (
    <label class="check">
      <input type="checkbox" checked={letThrough} onChange={(event) => ask({ through: event.currentTarget.checked ? "1" : "" })} /> also what was let through unevaluated
    </label>
  );
  return (
    <Section title="Why" id="why" of={denials} aside={aside}>
      {(all.value ? blocks : blocks.slice(0, BLOCKS)).map((block, index) => <Blocking key={index} block={block} />)}
      {blocks.length > BLOCKS && !all.value && (
        <button type="button" class="small" onClick={() => (all.value = true)}>Show {grouped(blocks.length - BLOCKS)} more</button>
      )}
      <Loaded of={denials}>
        {({ denials: rows, nextPageToken }) =>
          rows.length === 0 ? (
            <Empty command={`tollgate why ${org}`}>No call of this org was denied within 7 days.</Empty>
          ) : (
            <>
              <Rows org={org} rows={rows} />
              {nextPageToken && <p class="note">The newest {SHOWN}; <code>tollgate denials {org}</code> has all of 7 days.</p>}
            </>
          )
        }
      </Loaded>
    </Section>
  );
}

function Blocking({ block }: { block: Block }) {
  const { now } = block;
  if (!now) return null;
  const planes = block.planes.map((each) => `${each.plane || "unnamed"} (${grouped(each.count)})`).join(", ");
  const scopes = block.scopes.filter((scope) => scope).join("; ");
  return (
    <div class="blocking">
      <h3>
        <Tag tone="red">denied now</Tag> by <span class="mono">{by(now)}</span>
      </h3>
      <Facts
        rows={[
          ...now.limits.map((limit): [string, string] => ["limit", standing(limit)]),
          now.limits.length === 0 && ["gate", now.gate],
          ["code", <span class="mono">{code(now.code)}</span>],
          ["message", now.message],
          block.count > 0n && ["since", <When at={block.sinceMs} />],
          ["until", now.untilMs > 0n ? <When at={now.untilMs} /> : now.neverFits ? "never, while the limit stands" : "until somebody acts"],
          ["denied", block.count === 0n ? "no call has asked for it within 7 days" : <>{grouped(block.count)} within 7 days, the last <Time at={block.lastAtMs} /></>],
          planes !== "" && ["planes", planes],
          scopes !== "" && ["scopes", <span class="mono">{scopes}</span>],
        ]}
      />
      <Ways ways={block.ways} />
    </div>
  );
}

function Rows({ org, rows }: { org: string; rows: Denial[] }) {
  const opened = query.value.get("denial") ?? "";
  return (
    <Table
      label="Denials"
      class="fixed denials"
      columns={[
        { name: "Last", class: "w-wait" },
        { name: "Calls", class: "right w-small" },
        { name: "Denied by" },
        { name: "Used / limit", class: "right w-used" },
        { name: "Scopes" },
        { name: "Planes", class: "w-from" },
        { name: "Until", class: "w-wait" },
        { name: "Open", class: "w-act1", hidden: true },
      ]}
    >
      {rows.map((row) => {
        const id = String(row.number);
        const isOpen = opened === id;
        const limit = limitOf(row);
        const was_allowed = row.code === DecisionCode.ALLOWED;
        return (
          <Fragment key={id}>
            <tr class={isOpen ? "opened" : ""}>
              <td data-name="Last"><Time at={row.lastAtMs} /></td>
              <td data-name="Calls" class="right number">{grouped(row.count)}</td>
              <th scope="row" data-name="Denied by">
                {was_allowed ? <span class="amber">let through: {causes(row)}</span> : <span class="mono">{by(row)}</span>}
                {row.shadow && <Tag tone="plain">shadow</Tag>}
              </th>
              <td data-name="Used / limit" class="right number">{limit ? `${amount(limit.meter, limit.used)} / ${amount(limit.meter, limit.amount)}` : <span class="dim">–</span>}</td>
              <td data-name="Scopes" class="mono ellipsis">{row.mixed ? "several" : row.asked?.scopes.join(", ") || <span class="dim">–</span>}</td>
              <td data-name="Planes" class="ellipsis">{row.mixed ? "several" : row.asked?.plane || <span class="dim">–</span>}</td>
              <td data-name="Until">{row.untilMs > 0n ? <Time at={row.untilMs} /> : <span class="dim">{row.neverFits ? "never" : "–"}</span>}</td>
              <td class="right">
                <button type="button" class="small" aria-expanded={isOpen} aria-label={`${isOpen ? "Close" : "Open"} denial ${id}`} onClick={() => ask({ denial: isOpen ? "" : id })}>
                  {isOpen ? "Close" : "Open"}
                </button>
              </td>
            </tr>
            {isOpen && (
              <tr class="detail">
                <td colSpan={8}><Detail org={org} row={row} /></td>
              </tr>
            )}
          </Fragment>
        );
      })}
    </Table>
  );
}

/** What was asked, what each gate said, and what would have let it through. */
function Detail({ org, row }: { org: string; row: Denial }) {
  const failed = useSignal("");
  const decisionId = row.lastDecisionId;
  const source = useSource(`explain ${org} ${decisionId} ${row.count}`, 3_600_000, (options) =>
    decisionId ? admin.explainDecision({ org, decisionId }, options) : admin.explainDecision({ org, atMs: row.lastAtMs }, options),
  );
  failed.value = source.error.value?.text ?? "";
  const { asked } = row;
  const listed = (amounts: { meter: string; amount: bigint }[]) => amounts.map((each) => `${each.meter} ${amount(each.meter, each.amount)}`).join(", ");
  return (
    <div class="explained">
      <Facts
        rows={[
          ["message", row.message],
          ...row.limits.map((limit): [string, string] => ["limit", standing(limit)]),
          ["code", <span class="mono">{code(row.code)}</span>],
          ["first", <When at={row.firstAtMs} />],
          ["last", <When at={row.lastAtMs} />],
          asked && ["operation", asked.operation.replaceAll("_", " ")],
          asked && asked.cost.length > 0 && ["cost", listed(asked.cost)],
          asked && asked.reserve.length > 0 && ["reserve", listed(asked.reserve)],
          asked && asked.pool !== "" && ["pool", asked.pool],
          ["node", <span class="mono">{row.node}</span>],
          decisionId !== "" && ["decision", <span class="mono id">{decisionId}</span>],
          row.traceId !== "" && ["trace", <span class="mono id">{row.traceId}</span>],
        ]}
      />
      <Gates gates={row.gates} />
      {failed.value ? <p class="note">What would let it through: {failed.value}</p> : <Ways ways={source.data.value?.ways ?? []} />}
    </div>
  );
}

function Gates({ gates }: { gates: GateReport[] }) {
  if (gates.length === 0) return null;
  return (
    <Table label="What each gate said" class="gates" columns={[{ name: "Gate" }, { name: "Verdict" }, { name: "Why" }]}>
      {gates.map((gate) => (
        <tr key={gate.gate}>
          <th scope="row" class="mono">{gate.gate}</th>
          <td data-name="Verdict" class={gate.verdict === "denied" ? "red" : gate.verdict === "unevaluated" ? "amber" : ""}>{gate.verdict}</td>
          <td data-name="Why" class="mono">{gate.cause || (gate.code ? code(gate.code) : "–")}</td>
        </tr>
      ))}
    </Table>
  );
}
