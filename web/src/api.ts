// The node, as any client of it sees it: Connect, with the types of the SDK.
import { Code, ConnectError, createClient, type CallOptions, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { signal } from "@preact/signals";
import { AdminService } from "@gen/admin/v1/admin_pb.js";
import { BudgetService } from "@gen/v1/budget_pb.js";
import { GateService } from "@gen/v1/gate_pb.js";
import { PoolService } from "@gen/v1/pool_pb.js";
import { SessionService } from "@gen/v1/session_pb.js";

const WITHIN = 15_000;

/** The token of the login; empty without one. */
let bearer = "";
/** Called where the node does not accept it. */
let refused: (why: string) => void = () => {};

export function useToken(token: string, whenRefused: (why: string) => void): void {
  [bearer, refused] = [token, whenRefused];
}

export function authorization(): Record<string, string> {
  return bearer ? { authorization: `Bearer ${bearer}` } : {};
}

const identify: Interceptor = (next) => (request) => {
  if (bearer) request.header.set("authorization", `Bearer ${bearer}`);
  return next(request);
};

const transport = createConnectTransport({ baseUrl: location.origin, useBinaryFormat: true, interceptors: [identify] });
export const admin = createClient(AdminService, transport);
export const gate = createClient(GateService, transport);
export const budgets = createClient(BudgetService, transport);
export const sessions = createClient(SessionService, transport);
export const pools = createClient(PoolService, transport);

/** Since when the node does not answer, and why; nothing while it does. */
export const away = signal<{ since: number; why: string } | undefined>(undefined);

/** Whether an error says that there is no node, and not what it has decided. */
export function isAway(error: ConnectError): boolean {
  if (error.cause instanceof TypeError || /failed to fetch|networkerror|load failed/i.test(error.rawMessage)) return true;
  return error.code === Code.Unavailable || error.code === Code.DeadlineExceeded;
}

export function answered(): void {
  if (away.peek()) away.value = undefined;
}

export function missed(error: ConnectError): void {
  const why = /failed to fetch|networkerror|load failed/i.test(error.rawMessage) ? "it does not answer" : error.rawMessage;
  away.value = { since: away.peek()?.since ?? Date.now(), why };
}

/** Calls the node in bounded time, and keeps in mind whether it answers. */
export async function call<T>(ask: (options: CallOptions) => Promise<T>, signal?: AbortSignal): Promise<T> {
  const used = bearer;
  try {
    const answer = await ask({ timeoutMs: WITHIN, ...(signal ? { signal } : {}) });
    answered();
    return answer;
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    if (signal?.aborted) throw error;
    if (isAway(error)) missed(error);
    else answered();
    if (error.code === Code.Unauthenticated && used === bearer) refused(error.rawMessage);
    throw error;
  }
}

/** What went wrong, for people. */
export function sentence(thrown: unknown): string {
  const error = ConnectError.from(thrown);
  if (isAway(error) && /failed to fetch|networkerror|load failed/i.test(error.rawMessage)) return "The node does not answer.";
  return error.rawMessage || String(thrown);
}

/** The machine-readable reason of an error: `BUDGET_VERSION`. */
export function codeOf(thrown: unknown): Code {
  return ConnectError.from(thrown).code;
}

/** A new id for a call that changes something. The browser has no `randomUUID` for pages in the clear. */
export function requestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
