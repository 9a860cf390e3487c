// Pools of upstream accounts: what is left today, and the stop when nothing is.
import type { GetOrgResponse, OrgPool } from "@gen/admin/v1/admin_pb.js";
import { AccountState, RouteHealth, type PoolAccountStatus, type PoolSummary } from "@gen/v1/pool_pb.js";
import { pools } from "../api";
import { bytes, dayOf, grouped, percent } from "../format";
import { mayWrite } from "../login";
import { Empty, Loaded, Progress, Section, Table, Tag, Time, Until } from "../parts";
import { act } from "../route";
import { useSource, type Source } from "../source";
import { now } from "../time";
import { account, route, usableAgain, type Level } from "../words";

export function Pools({ org, of }: { org: string; of: Source<GetOrgResponse> }) {
  return (
    <Section title="Pools" id="pools" of={of}>
      <Loaded of={of}>
        {(data) =>
          data.pools.length === 0 ? (
            <Empty command={`tollgate pool configure ${org} relays accounts.txt`}>No pool of upstream accounts is configured.</Empty>
          ) : (
            <>{data.pools.map((pool) => <OnePool key={pool.pool} org={data.org} pool={pool} />)}</>
          )
        }
      </Loaded>
    </Section>
  );
}

function OnePool({ org, pool }: { org: string; pool: OrgPool }) {
  const source = useSource(`pool ${org} ${pool.pool}`, 2000, (options) => pools.getPool({ org, pool: pool.pool }, options));
  const answered = source.data.value?.pool;
  const sum = answered?.summary ?? pool.summary;
  return (
    <div class="pool">
      <h3 class="mono">{pool.pool}</h3>
      {sum && sum.accounts > 0n && sum.active === 0n && <HardStop sum={sum} />}
      {sum && <Today sum={sum} accounts={answered?.accounts ?? []} />}
      <Loaded of={source}>{() => <Accounts accounts={answered?.accounts ?? []} pool={pool.pool} />}</Loaded>
    </div>
  );
}

/** Exactly while every account is exhausted. */
function HardStop({ sum }: { sum: PoolSummary }) {
  return (
    <p class="hard-stop" role="alert">
      <strong>QUOTA HARD STOP</strong> {sum.accounts === 1n ? "Its only account is" : `All ${grouped(sum.accounts)} accounts are`} exhausted: every pick is denied
      {sum.soonestResetMs > 0n ? <> until the first is usable again <Time at={sum.soonestResetMs} /></> : " until somebody acts"}.
    </p>
  );
}

/** The first window that ends. */
function nextReset(sum: PoolSummary, accounts: PoolAccountStatus[]): bigint {
  if (sum.soonestResetMs > 0n) return sum.soonestResetMs;
  const ends = accounts.map((each) => each.windowEndsAtMs).filter((at) => at > 0n);
  return ends.reduce((first, at) => (first === 0n || at < first ? at : first), 0n);
}

function Today({ sum, accounts }: { sum: PoolSummary; accounts: PoolAccountStatus[] }) {
  const share = percent(sum.used, sum.capacity);
  const level: Level = sum.active === 0n || sum.used >= sum.capacity ? "over" : share >= 80 ? "near" : "ok";
  const resets = nextReset(sum, accounts);
  return (
    <div class="usage-today">
      <h4>Usage Today</h4>
      <dl class="facts">
        <div class="wide">
          <dt>fetches today</dt>
          <dd>
            <span class="number">{grouped(sum.used)} / {grouped(sum.capacity)} ({share}%)</span>
            {resets > 0n && <> · resets in <Until at={resets} /></>}
            <Progress label="Fetches today" value={Number(sum.used)} max={Number(sum.capacity)} text={`${grouped(sum.used)} of ${grouped(sum.capacity)} used`} level={level} />
          </dd>
        </div>
        <div>
          <dt>relay calls</dt>
          <dd class="number">{grouped(sum.totalCalls)} ({grouped(sum.failed)} failed)</dd>
        </div>
        <div>
          <dt>day</dt>
          <dd class="number">{dayOf(now.value)} UTC</dd>
        </div>
        <div>
          <dt>accounts</dt>
          <dd class="number">
            {grouped(sum.active)}/{grouped(sum.accounts)} active{sum.avoided > 0n && <span class="amber">, {grouped(sum.avoided)} avoided</span>}
          </dd>
        </div>
        <div>
          <dt>data transferred</dt>
          <dd class="number">
            {bytes(sum.bytes)}
            {sum.estimatedRemainingBytes !== undefined && <> / {bytes(sum.estimatedRemainingBytes)} est. left</>}
          </dd>
        </div>
        {sum.quotaErrors > 0n && (
          <div>
            <dt>quota errors</dt>
            <dd class="number">{grouped(sum.quotaErrors)}</dd>
          </div>
        )}
      </dl>
    </div>
  );
}

function Accounts({ accounts, pool }: { accounts: PoolAccountStatus[]; pool: string }) {
  return (
    <Table
      label={`Accounts of ${pool}`}
      class="fixed"
      columns={[
        { name: "Account" },
        { name: "State" },
        { name: "Used / usable", class: "right w-used" },
        { name: "Taken", class: "w-bar", hidden: true },
        { name: "Failed", class: "right w-small" },
        { name: "Route", class: "w-from" },
        { name: "Data", class: "right w-wait" },
        { name: "Last used", class: "right w-wait" },
        { name: "Usable again", class: "right w-wait" },
      ]}
    >
      {accounts.map((each) => <Row key={each.account} each={each} pool={pool} />)}
    </Table>
  );
}

function Row({ each, pool }: { each: PoolAccountStatus; pool: string }) {
  const again = usableAgain(each);
  const is_active = each.state === AccountState.ACTIVE;
  // What was reported can be forgotten; what was counted stays.
  const isReported = (!is_active && each.state !== AccountState.LIMIT_REACHED) || each.route > RouteHealth.OK;
  const usable = each.used + each.remaining;
  const share = percent(each.used, usable);
  const level: Level = !is_active ? "over" : share >= 80 ? "near" : "ok";
  return (
    <tr>
      <th scope="row" class="mono">{each.account}</th>
      <td data-name="State">
        <Tag tone={is_active ? "green" : "red"}>{account(each.state)}</Tag>
        {mayWrite.value && isReported && <button type="button" class="small" onClick={() => act("account", { id: pool, limit: each.account })}>Clear</button>}
      </td>
      <td data-name="Used / usable" class="right number">
        {grouped(each.used)} / {grouped(usable)}
        <span class="sub">limit {grouped(each.dailyLimit)}, buffer {grouped(each.safetyBuffer)}</span>
      </td>
      <td data-name="Taken"><Progress label={`Account ${each.account}`} value={Number(each.used)} max={Number(usable)} text={`${grouped(each.used)} of ${grouped(usable)} used`} level={level} /></td>
      <td data-name="Failed" class="right number">{grouped(each.failed)}</td>
      <td data-name="Route" class={each.route === RouteHealth.OK ? "" : "amber"}>
        {route(each.route)}{each.routeUntilMs > 0n && <span class="sub">ends <Time at={each.routeUntilMs} quiet /></span>}
      </td>
      <td data-name="Data" class="right number">{bytes(each.bytesUp + each.bytesDown)}</td>
      <td data-name="Last used" class="right number"><Time at={each.lastUsedAtMs} quiet /></td>
      <td data-name="Usable again" class="right number">{typeof again === "number" ? <Time at={again} /> : again || <span class="dim">–</span>}</td>
    </tr>
  );
}
