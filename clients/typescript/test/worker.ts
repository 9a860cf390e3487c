/**
 * The story, told by a Worker (`GET /story?url=…&hung=…&protocol=…&org=…`), and one execution of a
 * client that all requests of the isolate share (`GET /guard?url=…&org=…`).
 */
import type { Protocol } from "tollgate";
import { tollgate, type Tollgate } from "tollgate";
import { story } from "./story.js";

/** Before the first request a Worker has no random numbers, no clock and no timers. */
export const early = tollgate({
  url: ["http://127.0.0.1:1", "http://127.0.0.1:2"],
  token: "unused",
});

let shared: Tollgate | undefined;

export default {
  async fetch(
    request: Request,
    _: unknown,
    ctx: { waitUntil(promise: Promise<unknown>): void },
  ): Promise<Response> {
    const asked = new URL(request.url);
    const { url, hung, protocol, org } = Object.fromEntries(asked.searchParams) as Record<
      string,
      string
    >;
    try {
      if (asked.pathname === "/story")
        return Response.json(await story(url!, hung!, protocol as Protocol, org!));
      shared ??= tollgate({
        url: url!,
        budgetMs: 1000,
        breaker: { failures: 2, minMs: 200, maxMs: 200 },
      });
      const ran = await shared.guard(
        org!,
        // Without its context it throws, and the answer waits for what is recorded.
        { waitUntil: ctx.waitUntil },
        () => "ran",
      );
      return Response.json({
        ran: ran.allowed ? ran.admission.by : "denied",
        stats: shared.stats,
      });
    } catch (error) {
      return new Response(error instanceof Error ? `${error.stack}` : String(error), {
        status: 500,
      });
    }
  },
};
