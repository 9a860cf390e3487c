// The node, as any client of it sees it: Connect, with the types of the SDK.
import { Code, ConnectError, createClient, type CallOptions, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { computed, signal } from "@preact/signals";
import { AdminService, type GetNodeResponse } from "@gen/admin/v1/admin_pb.js";
import { BudgetService } from "@gen/v1/budget_pb.js";
import { GateService } from "@gen/v1/gate_pb.js";
import { PoolService } from "@gen/v1/pool_pb.js";
import { SessionService } from "@gen/v1/session_pb.js";
import { current, nodeSays, now } from "./time";

/** An answer takes so long at most. */
export const WITHIN = 15_000;
/** Without any answer for so long the page says so. */
const SOON = 4000;

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

/** When the node answered last, by its time, and why it has not since then; nothing while it does. */
export const away = signal<{ since: number; why: string } | undefined>(undefined);

/** When the node was heard last, by the clock of the browser that only goes on. */
const heard = signal(performance.now());
let heardAt = 0;
/** When each question was asked that is open, by that clock. */
const open = new Set<{ began: number }>();

/** For how many milliseconds the node has not answered what was asked; 0 = it answers in time. */
export const silent = computed(() => {
  if (now.value === 0) return 0;
  // A question that takes long is no silence while others are answered.
  const unheard = [...open].map(({ began }) => began).filter((began) => began > heard.value);
  const lasts = unheard.length > 0 ? performance.now() - Math.min(...unheard) : 0;
  return lasts >= SOON ? lasts : 0;
});
/** Nothing on the page is of now. */
export const isDown = computed(() => away.value !== undefined || silent.value > 0);

/** Whether a node has answered it, be it another one's fault. */
const isOfNode = (error: ConnectError) => error.metadata.get("content-type")?.startsWith("application/") ?? false;

function isUnreached(error: ConnectError): boolean {
  if (error.code === Code.DeadlineExceeded) return !isOfNode(error);
  return error.cause instanceof TypeError || /failed to fetch|networkerror|load failed/i.test(error.rawMessage);
}

/** Whether an error says that no node was reached. What a node says is an answer, also that another one is unavailable. */
export function isAway(error: ConnectError): boolean {
  return isUnreached(error) || (error.code === Code.Unavailable && !isOfNode(error));
}

export function answered(): void {
  heard.value = performance.now();
  heardAt = current();
  if (away.peek()) away.value = undefined;
}

export function missed(error: ConnectError): void {
  away.value = { since: heardAt || current(), why: isUnreached(error) ? "it does not answer" : error.rawMessage };
}

/** Calls the node in bounded time, and keeps in mind whether it answers. */
export async function call<T>(ask: (options: CallOptions) => Promise<T>, signal?: AbortSignal): Promise<T> {
  const used = bearer;
  const question = { began: performance.now() };
  open.add(question);
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
  } finally {
    open.delete(question);
  }
}

/** What the node says of itself, which has its time. */
export async function askNode(options: CallOptions): Promise<GetNodeResponse> {
  const asked = Date.now();
  const answer = await admin.getNode({}, options);
  nodeSays(Number(answer.nowMs), asked);
  return answer;
}

/** What went wrong, for people. */
export function sentence(thrown: unknown): string {
  const error = ConnectError.from(thrown);
  if (isUnreached(error)) return "The node does not answer.";
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
