/** `examples/worker`: type checked, and run in workerd, before and after. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { eventually, limited, PACKAGE, TollgateNode } from "./node.js";
import { noWorkerd, Workerd } from "./workerd.js";

describe("the example Worker", { skip: noWorkerd }, () => {
  const dir = mkdtempSync(join(tmpdir(), "tollgate-example-"));

  before(() => {
    for (const name of ["src", "tsconfig.json", "package.json"])
      cpSync(join(PACKAGE, "../../examples/worker", name), join(dir, name), {
        recursive: true,
      });
    mkdirSync(join(dir, "node_modules"));
    // As npm links a package of a directory.
    symlinkSync(PACKAGE, join(dir, "node_modules/tollgate"));
    symlinkSync(join(PACKAGE, "node_modules/@cloudflare"), join(dir, "node_modules/@cloudflare"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  async function post(
    worker: Workerd,
    path: string,
    body: string,
  ): Promise<{ status: number; said: Record<string, string> }> {
    const answer = await fetch(`${worker.url}/orgs/acme/${path}`, { method: "POST", body });
    const text = await answer.text();
    const said = (answer.status === 404 ? {} : JSON.parse(text)) as Record<string, string>;
    return { status: answer.status, said };
  }

  it("has types", () => {
    execFileSync(process.execPath, [join(PACKAGE, "node_modules/typescript/bin/tsc")], {
      cwd: dir,
      stdio: "pipe",
    });
  });

  it("counts in its Durable Object before", async () => {
    const worker = await Workerd.start(join(dir, "src/before.ts"), {
      bindings: { LIMIT_PER_HOUR: "2" },
      objects: { ORGS: "Org" },
    });
    try {
      // Unless an hour ends in between, which begins anew.
      const statuses: number[] = [];
      for (let times = 0; times < 5; times++)
        statuses.push((await post(worker, "execute", "a")).status);
      assert.ok(statuses.includes(200) && statuses.includes(429), String(statuses));
    } finally {
      await worker.close();
    }
  });

  it("is counted by tollgate after, and goes on without it", async () => {
    const node = await TollgateNode.start(limited(2));
    const worker = await Workerd.start(join(dir, "src/after.ts"), {
      bindings: { TOLLGATE_URL: node.url },
      objects: { ORGS: "Org" },
    });
    try {
      assert.deepEqual(await post(worker, "execute", "hello"), {
        status: 200,
        said: { status: "completed", value: "HELLO" },
      });
      const paused = await post(worker, "execute", "ask:go on?");
      assert.deepEqual(
        [paused.status, paused.said["status"], paused.said["question"]],
        [200, "paused", "go on?"],
      );
      const denied = await post(worker, "execute", "more");
      assert.deepEqual([denied.status, denied.said["error"]], [402, "QUOTA_EXCEEDED"]);
      const resume = () => post(worker, `resume/${paused.said["executionId"]}`, "yes");
      const resumed = await Promise.all(Array.from({ length: 8 }, resume));
      const statuses = resumed.map(({ status }) => status).sort();
      assert.deepEqual(statuses, [200, ...Array<number>(7).fill(404)], "it is continued once");
      const { said } = resumed.find(({ status }) => status === 200)!;
      assert.deepEqual(said, { status: "completed", value: "YES" });
      await node.stop("SIGKILL");
      assert.equal((await post(worker, "execute", "more")).status, 200);
      await node.start();
      await eventually(
        async () => (await post(worker, "execute", "more")).status === 402,
        "it is denied again",
      );
    } finally {
      await worker.close();
      await node.close();
    }
  });
});
