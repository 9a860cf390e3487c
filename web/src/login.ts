// Who uses the page. A token is in memory and in this tab's session storage, and in a header of each call: no cookie, so nothing
// is sent along by itself.
import { Code } from "@connectrpc/connect";
import { computed, signal } from "@preact/signals";
import type { GetCallerResponse } from "@gen/admin/v1/caller_pb.js";
import { admin, askNode, call, codeOf, sentence, useToken } from "./api";
import { utc } from "./format";

const KEPT = "tollgate-token";
/** Without a key or a pointer for so long a login ends. */
const IDLE = 30 * 60_000;
const LOOK = 5000;

export type Login =
  | { state: "asking" }
  /** The node asks for a token; `why` says why the last one does not count. */
  | { state: "out"; why: string; wrong: boolean }
  /** The node did not answer yet. */
  | { state: "away"; why: string }
  | { state: "in"; caller: GetCallerResponse };

export const login = signal<Login>({ state: "asking" });
export const caller = computed(() => (login.value.state === "in" ? login.value.caller : undefined));
/** Who may not, sees no button. */
export const mayWrite = computed(() => caller.value?.role === "admin");

let endsAt = 0;
let touched = Date.now();
for (const kind of ["keydown", "pointerdown", "wheel"]) {
  addEventListener(kind, () => (touched = Date.now()), { passive: true });
}

setInterval(() => {
  const who = caller.peek();
  if (!who?.authenticated) return;
  if (endsAt && Date.now() >= endsAt) leave(`The login has ended, as its token did at ${utc(Number(who.expiresAtMs))}.`);
  else if (Date.now() - touched >= IDLE) leave("The login has ended: the page was not used for 30 minutes.");
}, LOOK);

function leave(why: string, wrong = false): void {
  sessionStorage.removeItem(KEPT);
  useToken("", () => {});
  endsAt = 0;
  login.value = { state: "out", why, wrong };
}

export function signOut(): void {
  leave("");
}

/** Asks the node who calls with this token; with none whether it needs one. */
export async function enter(token: string, kept = false): Promise<void> {
  useToken(token, (why) => {
    if (login.peek().state === "in") leave(`The login has ended: ${why}.`);
  });
  try {
    const who = await call((options) => admin.getCaller({}, options));
    if (who.role !== "viewer" && who.role !== "admin") {
      leave(`The token is that of a ${who.role}. This page is for viewers and admins.`, true);
      return;
    }
    // Times are said by its clock from the first screen on.
    await call(askNode).catch(() => {});
    if (token) sessionStorage.setItem(KEPT, token);
    endsAt = who.expiresInMs > 0n ? Date.now() + Number(who.expiresInMs) : 0;
    touched = Date.now();
    login.value = { state: "in", caller: who };
  } catch (error) {
    if (codeOf(error) === Code.Unauthenticated) {
      if (!token) leave("");
      else leave(kept ? `The login has ended: ${sentence(error)}.` : `The node does not accept this token: ${sentence(error)}.`, !kept);
    } else if (codeOf(error) === Code.PermissionDenied) {
      login.value = { state: "away", why: REFUSED };
    } else {
      login.value = { state: "away", why: sentence(error) };
    }
  }
}

const REFUSED =
  "The node refuses calls from this page. Without [auth] it takes pages only under its IP address or localhost; " +
  "with [auth], or where cors.origins names this origin, under any name.";

export async function begin(): Promise<void> {
  await enter(sessionStorage.getItem(KEPT) ?? "", true);
  if (login.peek().state === "away") setTimeout(begin, 2000);
}
