/** After: tollgate counts, and the Durable Object keeps only what has paused. */
import { DurableObject } from "cloudflare:workers";
import { denialResponse, tollgate, type Ticket, type Tollgate } from "tollgate";
import { executeWithPause, resume, route } from "./engine.js";

interface Env {
    ORGS: DurableObjectNamespace<Org>;
    TOLLGATE_URL: string;
    TOLLGATE_TOKEN?: string;
}

/** One for all requests of an isolate: it knows whether tollgate answers. */
let shared: Tollgate | undefined;

function client(env: Env): Tollgate {
    return (shared ??= tollgate({
        url: env.TOLLGATE_URL,
        plane: "executor",
        ...(env.TOLLGATE_TOKEN === undefined
            ? {}
            : { token: env.TOLLGATE_TOKEN }),
        budgetMs: 1000,
        onUnavailable: "open",
        onFailOpen: ({ org, requestId, error }) =>
            console.warn("executed without a decision", {
                org,
                requestId,
                error: error.message,
            }),
        onSettlementFailed: ({ settlement }) =>
            console.error("not settled", settlement),
    }));
}

export class Org extends DurableObject<Env> {
    async pause(executionId: string, ticket: Ticket): Promise<void> {
        await this.ctx.storage.put(executionId, ticket);
    }

    async paused(executionId: string): Promise<Ticket | undefined> {
        return this.ctx.storage.get<Ticket>(executionId);
    }

    async forget(executionId: string): Promise<void> {
        await this.ctx.storage.delete(executionId);
    }
}

export default {
    async fetch(request, env, ctx): Promise<Response> {
        const { org, verb, executionId, text } = await route(request);
        const tg = client(env);
        const stored = env.ORGS.get(env.ORGS.idFromName(org));
        // The answer does not wait for what is recorded after it.
        const waitUntil = (settled: Promise<unknown>) => ctx.waitUntil(settled);
        if (verb === "resume") {
            const ticket = await stored.paused(executionId);
            if (ticket === undefined)
                return new Response("no such execution", { status: 404 });
            const result = await tg.resume(ticket, { waitUntil }, () =>
                resume(text),
            );
            await stored.forget(executionId);
            return Response.json(result);
        }
        const ran = await tg.guard(
            org,
            { pausable: true, waitUntil },
            async (execution) => {
                const result = executeWithPause(text);
                if (result.status === "paused")
                    await stored.pause(result.executionId, execution.pause());
                return result;
            },
        );
        return ran.allowed
            ? Response.json(ran.value)
            : denialResponse(ran.denial);
    },
} satisfies ExportedHandler<Env>;
