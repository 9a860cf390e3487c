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
        token: env.TOLLGATE_TOKEN,
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

    /** The ticket, for one of those who ask for it: in one step, so that it is continued once. */
    async take(executionId: string): Promise<Ticket | undefined> {
        return this.ctx.storage.transaction(async (storage) => {
            const ticket = await storage.get<Ticket>(executionId);
            await storage.delete(executionId);
            return ticket;
        });
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
            const ticket = await stored.take(executionId);
            if (ticket === undefined)
                return new Response("no such execution", { status: 404 });
            try {
                return Response.json(
                    await tg.resume(ticket, { waitUntil }, () => resume(text)),
                );
            } catch (error) {
                // It may be continued again.
                await stored.pause(executionId, ticket);
                throw error;
            }
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
