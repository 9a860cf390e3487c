// What runs, what it holds, and whether another one may start.
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import { SessionState, type BatchStatusResponse } from "@gen/v1/session_pb.js";
import { DecisionCode } from "@gen/v1/gate_pb.js";
import { amount, grouped, percent, span } from "../format";
import { mayWrite } from "../login";
import { Empty, Loaded, Progress, Section, Table, Tag, Time } from "../parts";
import { act } from "../route";
import type { Source } from "../source";
import { sessionState } from "../words";

/** What a plan that includes more lets through. */
const UPGRADED = new Set([DecisionCode.QUOTA_EXCEEDED, DecisionCode.BALANCE_EXHAUSTED, DecisionCode.SESSION_LIMIT_REACHED]);

const compute = (millis: bigint) => span(Number(millis));

export function Sessions({ of, status }: { of: Source<GetOrgResponse>; status: Source<BatchStatusResponse> }) {
  return (
    <Section title="Sessions" id="sessions" of={status}>
      <Loaded of={status}>{(data) => <Quota data={data} />}</Loaded>
      <Loaded of={of}>{(data) => <Rows data={data} />}</Loaded>
    </Section>
  );
}

function Quota({ data }: { data: BatchStatusResponse }) {
  const result = data.results[0]?.result;
  if (result?.case !== "status") return <p class="trouble">{result?.case === "error" ? result.value.message : "The node says nothing of sessions."}</p>;
  const status = result.value;
  const most = status.sessionsUnlimited ? "unlimited" : grouped(status.sessionsMax);
  const taken = status.usedMs + status.reservedMs;
  const share = status.unlimited ? 0 : percent(taken, status.quotaMs);
  const level = status.unlimited ? "none" : taken >= status.quotaMs ? "over" : share >= 80 ? "near" : "ok";
  return (
    <div class="quota">
      <p>
        <span class="number" id="sessions-count">{grouped(status.sessions)} / {most}</span> sessions
      </p>
      <p>
        <span class="number">{compute(status.usedMs)}</span> used{status.reservedMs > 0n && `, ${compute(status.reservedMs)} reserved`} of {status.unlimited ? "unlimited" : compute(status.quotaMs)}
        {!status.unlimited && (
          <>
            {" "}
            <span class={`share ${level}`}>(<span class="number">{share} %</span>)</span>
          </>
        )}
      </p>
      {!status.unlimited && (
        <Progress label="Compute of sessions" value={Number(status.usedMs)} held={Number(status.reservedMs)} max={Number(status.quotaMs)} text={`${compute(status.usedMs)} of ${compute(status.quotaMs)} used`} level={level} />
      )}
      <div class="start">
        {mayWrite.value && (
          <button type="button" id="new-session" disabled={!status.canStart} {...(status.canStart ? {} : { "aria-describedby": "new-session-why" })} onClick={() => act("session")}>
            New session
          </button>
        )}
        {!status.canStart && (
          <p id="new-session-why" class="trouble">
            {status.message}
            {status.upgradeUrl && UPGRADED.has(status.code) && <>{" "}<a href={status.upgradeUrl} target="_blank" rel="noreferrer noopener">Upgrade</a></>}
          </p>
        )}
      </div>
    </div>
  );
}

function Rows({ data }: { data: GetOrgResponse }) {
  const running = data.sessions.filter((session) => session.state === SessionState.RUNNING);
  const rows = [...running, ...data.sessions.filter((session) => session.state !== SessionState.RUNNING)].slice(0, 50);
  if (rows.length === 0) return <Empty command={`tollgate session start ${data.org} vm-1 --identity me`}>No session runs, and none ended within a day.</Empty>;
  return (
    <Table
      label="Sessions"
      class="fixed"
      columns={[
        { name: "Session" },
        { name: "State", class: "w-from" },
        { name: "Identity" },
        { name: "Recorded", class: "right w-wait" },
        { name: "First slice left", class: "right w-wait" },
        { name: "Last heartbeat", class: "right w-wait" },
        { name: "Ends", class: "right w-wait" },
      ]}
    >
      {rows.map((session) => (
        <tr key={session.sessionId}>
          <th scope="row" class="mono ellipsis">{session.sessionId}{session.scopes.length > 0 && <span class="sub">{session.scopes.join(", ")}</span>}</th>
          <td data-name="State"><Tag tone={session.state === SessionState.RUNNING ? (session.stopping ? "red" : "green") : "plain"}>{sessionState(session)}</Tag></td>
          <td data-name="Identity" class="mono ellipsis">{session.identity}</td>
          <td data-name="Recorded" class="right number">{compute(session.bookedMs)}{session.disputedMs > 0n && <span class="sub">{compute(session.disputedMs)} disputed</span>}</td>
          <td data-name="First slice left" class="right number">{session.reservedMs > 0n ? compute(session.reservedMs) : <span class="dim">–</span>}</td>
          <td data-name="Last heartbeat" class="right number"><Time at={session.heardAtMs} /></td>
          <td data-name="Ends" class="right number"><Time at={session.endsAtMs} /></td>
        </tr>
      ))}
    </Table>
  );
}

export function Reservations({ of, org }: { of: Source<GetOrgResponse>; org: string }) {
  return (
    <Section title="Reservations" id="reservations" of={of}>
      <Loaded of={of}>
        {(data) => (
          <>
            {data.reservations.length === 0 ? (
              <Empty command={`tollgate acquire ${org} --reserve 'spend=$0.05' --ttl 10m`}>Nothing is reserved.</Empty>
            ) : (
              <Table
                label="Reservations"
                class="fixed"
                columns={[{ name: "Reservation" }, { name: "Holds" }, { name: "Scopes" }, { name: "Reserved", class: "right w-wait" }, { name: "Expires", class: "right w-wait" }]}
              >
                {data.reservations.slice(0, 50).map((each) => (
                  <tr key={each.reservationId}>
                    <th scope="row" class="mono ellipsis">{each.reservationId}</th>
                    <td data-name="Holds" class="number">{each.amounts.map((held) => `${held.meter} ${amount(held.meter, held.amount)}`).join(", ")}</td>
                    <td data-name="Scopes" class="mono ellipsis">{each.scopes.join(", ") || <span class="dim">–</span>}</td>
                    <td data-name="Reserved" class="right number"><Time at={each.reservedAtMs} /></td>
                    <td data-name="Expires" class="right number"><Time at={each.expiresAtMs} /></td>
                  </tr>
                ))}
              </Table>
            )}
            {data.reservations.length > 50 && <p class="note">The first 50 of {grouped(data.reservations.length)}.</p>}
            {data.reservationsExpired > 0n && <p class="note">{grouped(data.reservationsExpired)} expired within 24 hours and can still be committed.</p>}
          </>
        )}
      </Loaded>
    </Section>
  );
}
