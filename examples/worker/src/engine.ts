/** What executes code, the same before and after. It stands for the engine of a platform. */

export type Result =
    | { status: "completed"; value: string }
    | { status: "paused"; executionId: string; question: string };

/** Code that begins with `ask:` pauses with a question. */
export function executeWithPause(code: string): Result {
    if (!code.startsWith("ask:"))
        return { status: "completed", value: code.toUpperCase() };
    return {
        status: "paused",
        executionId: crypto.randomUUID(),
        question: code.slice("ask:".length),
    };
}

/** Goes on with the answer to its question. */
export function resume(answer: string): Result {
    return { status: "completed", value: answer.toUpperCase() };
}

/**
 * `POST /orgs/ORG/execute` and `POST /orgs/ORG/resume/EXECUTION`, with the code or the answer as
 * the body.
 */
export async function route(
    request: Request,
): Promise<{ org: string; verb: string; executionId: string; text: string }> {
    const [, , org = "", verb = "", executionId = ""] = new URL(
        request.url,
    ).pathname.split("/");
    return { org, verb, executionId, text: await request.text() };
}
