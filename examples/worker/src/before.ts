/** Before: a Durable Object for each org counts executions in the hour that runs. */
import { DurableObject } from "cloudflare:workers";
import { executeWithPause, resume, route } from "./engine.js";

interface Env {
    ORGS: DurableObjectNamespace<Org>;
    LIMIT_PER_HOUR: string;
}

const HOUR_MS = 3_600_000;

export class Org extends DurableObject<Env> {
    /** Whether one more fits. */
    async count(): Promise<boolean> {
        const windowId = Math.floor(Date.now() / HOUR_MS);
        const stored = await this.ctx.storage.get<{
            windowId: number;
            count: number;
        }>("window");
        const count = (stored?.windowId === windowId ? stored.count : 0) + 1;
        await this.ctx.storage.put("window", { windowId, count });
        // What nobody uses any more is removed.
        await this.ctx.storage.setAlarm((windowId + 2) * HOUR_MS);
        return count <= Number(this.env.LIMIT_PER_HOUR);
    }

    override async alarm(): Promise<void> {
        await this.ctx.storage.deleteAll();
    }
}

export default {
    async fetch(request, env): Promise<Response> {
        const { org, verb, text } = await route(request);
        if (verb === "resume") return Response.json(resume(text));
        let isAllowed: boolean;
        try {
            isAllowed = await env.ORGS.get(env.ORGS.idFromName(org)).count();
        } catch {
            // An outage of the counter is none of executions. Nobody sees how many ran uncounted.
            isAllowed = true;
        }
        if (!isAllowed)
            return Response.json(
                {
                    error: "RATE_LIMITED",
                    message: "Too many executions in this hour.",
                },
                { status: 429 },
            );
        return Response.json(executeWithPause(text));
    },
} satisfies ExportedHandler<Env>;
