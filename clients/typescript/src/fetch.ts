/** `fetch` as every runtime has it. */
import { Code, ConnectError } from "@connectrpc/connect";
import { codeFromString } from "@connectrpc/connect/protocol-connect";

/** Types of bodies that tollgate answers with, over gRPC-Web and over Connect. */
const GRPC_WEB = /^application\/grpc-web/;
const CONNECT = /^application\/(connect\+)?(json|proto)\b/;

/**
 * A `fetch` that sends only what every runtime takes (workerd knows no `redirect: "error"`, no
 * `mode` and no `credentials`), that follows no redirect, because a POST would become a GET, and
 * that turns what is no answer of tollgate into an error which says so.
 */
export function portable(fetch: typeof globalThis.fetch | undefined): typeof globalThis.fetch {
  return async (input, init) => {
    // Called without `this`: a Worker's fetch belongs to no object. Looked up late, so that it
    // can be instrumented.
    const send = fetch ?? globalThis.fetch;
    const { method, headers, body, signal } = init ?? {};
    let response: Response;
    try {
      response = await send(input, {
        method,
        headers,
        body: body ?? null,
        signal: signal ?? null,
        redirect: "manual",
      } as RequestInit);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ConnectError(
        `no connection to ${originOf(input)}: ${causeOf(error)}`,
        Code.Unavailable,
        undefined,
        undefined,
        error,
      );
    }
    const ours = GRPC_WEB.test(new Headers(headers).get("content-type") ?? "") ? GRPC_WEB : CONNECT;
    if (ours.test(response.headers.get("content-type") ?? "")) {
      if (ours === GRPC_WEB || response.status === 200) return response;
      // JSON is of anybody. An error of tollgate has a code in it.
      const text = await response.text();
      if (hasCode(text)) return new Response(text, response);
    }
    // Not read: a connection with an unread body would stay open.
    void response.body?.cancel().catch(() => {});
    const answered = `${originOf(input)} answered ${response.status || "with a redirect"}`;
    throw new ConnectError(
      `${answered}, and not as tollgate does`,
      codeOf(response.status),
      response.headers,
    );
  };
}

function hasCode(text: string): boolean {
  try {
    const { code } = JSON.parse(text) as { code?: unknown };
    return typeof code === "string" && codeFromString(code) !== undefined;
  } catch {
    return false;
  }
}

/** What a status means that something else than tollgate has sent. */
function codeOf(status: number): Code {
  if (status === 401) return Code.Unauthenticated;
  if (status === 403) return Code.PermissionDenied;
  if (status >= 200 && status < 300) return Code.Unknown;
  if (status === 408 || status === 429 || status >= 500) return Code.Unavailable;
  // Redirects (0 in browsers) and what has no such path: the address is wrong.
  return Code.Unimplemented;
}

function originOf(input: RequestInfo | URL): string {
  return new URL(input instanceof Request ? input.url : String(input)).origin;
}

/** Node says "fetch failed" and has the reason beneath. */
function causeOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error
    ? inner.message || ((inner as { code?: string }).code ?? inner.name)
    : String(inner);
}
