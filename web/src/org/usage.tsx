// What was used by day, stacked by scope or by plane.
import type { UsageRow } from "@gen/admin/v1/usage_pb.js";
import { UsagePeriod } from "@gen/admin/v1/usage_pb.js";
import { admin } from "../api";
import { amount, dayOf } from "../format";
import { Empty, Loaded, Choose, Section, Table } from "../parts";
import { ask, query } from "../route";
import { useSource } from "../source";
import { current } from "../time";

const DAY = 86_400_000;
const DAYS = 30;
/** Parts of a bar that have a colour of their own; the others are one. */
const PARTS = 6;
const WIDTH = 900;
const HEIGHT = 140;

export function Usage({ org }: { org: string }) {
  const byPlane = query.value.get("by") !== "scope";
  const today = Math.floor(current() / DAY) * DAY;
  const from = today - (DAYS - 1) * DAY;
  const source = useSource(`usage ${org} ${byPlane} ${today}`, 15_000, (options) =>
    admin.usage({ org, by: UsagePeriod.DAY, fromMs: BigInt(from), toMs: BigInt(today + DAY), byPlane, pageSize: 5000, ...(byPlane ? { scope: "" } : {}) }, options),
  );
  const rows = source.data.value?.rows ?? [];
  const meters = [...new Set(rows.map((row) => row.meter))].sort();
  const chosen = query.value.get("meter") ?? "";
  const meter = meters.includes(chosen) ? chosen : (meters.find((each) => each === "executions") ?? meters[0] ?? "");
  const aside = (
    <>
      {meters.length > 1 && <Choose label="Meter" value={meter} choices={meters.map((each) => [each, each])} onPick={(meter) => ask({ meter })} />}
      <Choose label="By" value={byPlane ? "" : "scope"} choices={[["", "plane"], ["scope", "scope"]]} onPick={(by) => ask({ by })} />
    </>
  );
  return (
    <Section title="Usage by day" id="usage" of={source} aside={aside}>
      <Loaded of={source}>
        {(data) =>
          meter === "" ? (
            <Empty command={`tollgate usage ${org}`}>Nothing was used within {DAYS} days.</Empty>
          ) : (
            <>
              <Chart rows={rows.filter((row) => row.meter === meter)} meter={meter} from={from} byPlane={byPlane} />
              {data.nextPageToken && <p class="note">Not all of it: <code>tollgate usage {org}</code> has the rest.</p>}
            </>
          )
        }
      </Loaded>
    </Section>
  );
}

function Chart({ rows, meter, from, byPlane }: { rows: UsageRow[]; meter: string; from: number; byPlane: boolean }) {
  // By scope the org itself has what its scopes have; it is drawn behind them, and not added to them.
  const nameOf = (row: UsageRow) => (byPlane ? row.plane || "no plane" : row.scope);
  const stacked = byPlane ? rows : rows.filter((row) => row.scope !== "");
  const whole = byPlane ? [] : rows.filter((row) => row.scope === "");
  const sums = new Map<string, bigint>();
  for (const row of stacked) sums.set(nameOf(row), (sums.get(nameOf(row)) ?? 0n) + row.amount);
  const names = [...sums.entries()].sort((a, b) => Number(b[1] - a[1])).map(([name]) => name);
  const colour = (name: string) => Math.min(names.indexOf(name), PARTS - 1);
  const dayIndex = (row: UsageRow) => Math.round((Number(row.startMs) - from) / DAY);
  const heights = new Array<number>(DAYS).fill(0);
  for (const row of stacked) heights[dayIndex(row)] = (heights[dayIndex(row)] ?? 0) + Number(row.amount);
  for (const row of whole) heights[dayIndex(row)] = Math.max(heights[dayIndex(row)] ?? 0, Number(row.amount));
  const most = Math.max(...heights, 1);
  const step = WIDTH / DAYS;
  const tops = new Array<number>(DAYS).fill(HEIGHT);
  const order = [...stacked].sort((a, b) => names.indexOf(nameOf(a)) - names.indexOf(nameOf(b)));
  return (
    <>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT + 1}`} role="img" aria-label={`${meter} by day, ${dayOf(from)} to ${dayOf(from + (DAYS - 1) * DAY)}; the table below has the numbers`} preserveAspectRatio="none">
        <line class="axis" x1="0" x2={WIDTH} y1={HEIGHT} y2={HEIGHT} />
        {whole.map((row) => {
          const height = (Number(row.amount) / most) * HEIGHT;
          return (
            <rect key={`whole ${row.startMs}`} class="whole" x={dayIndex(row) * step + 3} width={step - 6} y={HEIGHT - height} height={height}>
              <title>{`${dayOf(Number(row.startMs))} the org: ${amount(meter, row.amount)}`}</title>
            </rect>
          );
        })}
        {order.map((row) => {
          const index = dayIndex(row);
          const height = (Number(row.amount) / most) * HEIGHT;
          const top = (tops[index] ?? HEIGHT) - height;
          tops[index] = top;
          return (
            <rect key={`${row.startMs} ${nameOf(row)}`} class={`part-${colour(nameOf(row))}`} x={index * step + 3} width={step - 6} y={top} height={height}>
              <title>{`${dayOf(Number(row.startMs))} ${nameOf(row)}: ${amount(meter, row.amount)}`}</title>
            </rect>
          );
        })}
      </svg>
      <p class="chart-ends dim number">
        <span>{dayOf(from)}</span>
        <span>most in a day {amount(meter, BigInt(Math.round(most)))}</span>
        <span>today (UTC)</span>
      </p>
      <ul class="legend">
        {!byPlane && <li><span class="part whole" aria-hidden="true" /> the org, with everything that its scopes have</li>}
        {names.slice(0, PARTS).map((name, index) => (
          <li key={name}>
            <span class={`part part-${index}`} aria-hidden="true" /> <span class="mono">{index === PARTS - 1 && names.length > PARTS ? `${name} and ${names.length - PARTS} more` : name}</span>
          </li>
        ))}
      </ul>
      <details>
        <summary>Numbers by day</summary>
        <Table label={`${meter} by day`} columns={[{ name: "Day (UTC)" }, { name: byPlane ? "Plane" : "Scope" }, { name: meter, class: "right" }]}>
          {[...rows].sort((a, b) => Number(b.startMs - a.startMs)).map((row) => (
            <tr key={`${row.startMs} ${nameOf(row)}`}>
              <th scope="row" class="number">{dayOf(Number(row.startMs))}</th>
              <td data-name={byPlane ? "Plane" : "Scope"} class="mono">{nameOf(row) || "the org"}</td>
              <td data-name={meter} class="right number">{amount(meter, row.amount)}</td>
            </tr>
          ))}
        </Table>
      </details>
    </>
  );
}
