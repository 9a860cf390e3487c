/** R-AUTH-1: tokens, and what is done where they are not taken. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Code, isUnavailable, RefusedError, tollgate } from "tollgate";
import { BINARY, fresh, PATIENT_MS, TollgateNode } from "./node.js";

describe("a node that asks for tokens", () => {
  const dir = mkdtempSync(join(tmpdir(), "tollgate-tokens-"));
  let node: TollgateNode;
  let token: string;

  before(async () => {
    const file = join(dir, "tokens.toml");
    const create = [
      "token",
      "create",
      "--name",
      "plane",
      "--role",
      "plane",
      "--orgs",
      "mine-*",
      "--expires",
      "1d",
      "--file",
      file,
    ];
    token = execFileSync(BINARY, create, { encoding: "utf8" }).trim();
    node = await TollgateNode.start(`[auth]\ntokens = "${file}"\n`);
  });
  after(async () => {
    await node?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it("takes a token, over every protocol", async () => {
    for (const protocol of ["connect", "connect-json", "grpc-web"] as const) {
      const tg = tollgate({ url: node.url, protocol, token, budgetMs: PATIENT_MS });
      const ran = await tg.guard(fresh("mine"), () => "ran");
      assert.ok(ran.allowed && ran.admission.by === "tollgate");
    }
  });

  it("runs nothing for a token that is not taken, unless it is to", async () => {
    const asks = [{ token: "wrong" }, {}].map((options) => tollgate({ url: node.url, ...options }));
    for (const tg of asks) {
      const refused = tg.guard(fresh("mine"), () => assert.fail("it ran"));
      await assert.rejects(refused, { name: "RefusedError", code: Code.Unauthenticated });
    }
    const other = tollgate({ url: node.url, token }).guard(fresh("other"), () =>
      assert.fail("it ran"),
    );
    await assert.rejects(other, { code: Code.PermissionDenied, reason: "ORG_NOT_ALLOWED" });
    const open = tollgate({
      url: node.url,
      token: "wrong",
      isUnavailable: (failure) => isUnavailable(failure) || failure.code === Code.Unauthenticated,
    });
    for (let times = 0; times < 5; times++) {
      assert.ok((await open.guard(fresh("mine"), () => "ran")).allowed);
    }
    assert.deepEqual([open.stats.failOpen, open.stats.breaker], [5, "closed"]);
  });

  it("runs nothing either where the node does not check such a token any more", async () => {
    const tg = tollgate({ url: node.url, token: "wrong" });
    const reasons = new Set<string>();
    for (let times = 0; times < 30; times++) {
      const refused = tg.guard(fresh("mine"), () => assert.fail("it ran"));
      await refused.catch((error: unknown) => {
        assert.ok(error instanceof RefusedError, String(error));
        reasons.add(error.reason);
      });
    }
    assert.ok(reasons.has("TOO_MANY_REFUSALS"), [...reasons].join());
    assert.deepEqual([tg.stats.refused, tg.stats.failOpen, tg.stats.retries], [30, 0, 0]);
  });

  it("runs nothing for a token that no header may have", async () => {
    for (const wrong of ["a\nb", "€"]) {
      assert.throws(() => tollgate({ url: node.url, token: wrong }), /^RangeError: token: /);
      const tg = tollgate({ url: node.url, token: () => wrong });
      const refused = tg.guard(fresh("mine"), () => assert.fail("it ran"));
      await assert.rejects(refused, { name: "RefusedError", code: Code.Unauthenticated });
    }
    const padded = tollgate({ url: node.url, token: `${token}\n`, budgetMs: PATIENT_MS });
    assert.ok((await padded.guard(fresh("mine"), () => "ran")).allowed);
  });

  it("asks for the token before every attempt, and once more when it was not taken", async () => {
    const tokens = ["wrong", token];
    const tg = tollgate({
      url: node.url,
      token: async () => tokens.shift() ?? token,
      budgetMs: PATIENT_MS,
    });
    const ran = await tg.guard(fresh("mine"), () => "ran");
    assert.ok(ran.allowed && ran.admission.by === "tollgate");
    assert.equal(tg.stats.retries, 1);
    const never = tollgate({ url: node.url, token: () => "wrong" });
    await assert.rejects(
      never.guard(fresh("mine"), () => assert.fail("it ran")),
      RefusedError,
    );
  });

  it("takes a function that fails for an outage", async () => {
    const fails = () => Promise.reject(new Error("the vault is sealed"));
    const tg = tollgate({ url: node.url, token: fails, budgetMs: 50 });
    const ran = await tg.guard(fresh("mine"), () => "ran");
    assert.ok(ran.allowed && ran.admission.by === "failOpen");
    assert.match(ran.admission.event.error.message, /the function `token` failed/);
  });
});
