/**
 * The package as a stranger has it: packed, unpacked, imported as a module, required, and compiled
 * against.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { build } from "esbuild";
import { PACKAGE } from "./node.js";

const SAYS = `const tg = tollgate({ url: "http://127.0.0.1:1", budgetMs: 10 });
tg.guard("acme", () => 7).then((ran) => console.log(ran.allowed && ran.value, typeof AdminService, typeof AcquireRequestSchema));`;
/** With a mistake that only types show. */
const TYPED = `import type { createClient } from "@connectrpc/connect";
import { DecisionCode, tollgate, usd, type Guarded } from "tollgate";
import { AdminService } from "tollgate/admin";
import { AcquireRequestSchema } from "tollgate/messages";
const tg = tollgate({ url: "http://127.0.0.1:1" });
export async function run(): Promise<number> {
  const ran: Guarded<number> = await tg.guard("acme", { reserve: { spend: usd("0.05") } }, (execution) => execution.id.length);
  // @ts-expect-error: a value is there only where it was allowed
  void ran.value;
  if (ran.allowed) return ran.value;
  return ran.denial.code === DecisionCode.RATE_LIMITED ? ran.denial.retryAfterMs ?? 0 : 0;
}
void tg.raw.client(AdminService).getNode({});
declare const transport: Parameters<typeof createClient>[1];
declare const token: string | undefined;
void tollgate({ transport, budgetMs: 10 });
void tollgate({ url: "http://127.0.0.1:1", token, plane: token, breaker: { failures: undefined } });
void tg.guard("acme", { scope: token, requestId: token, signal: undefined }, () => 7);
// @ts-expect-error: neither an address nor a transport
void tollgate({ budgetMs: 10 });
void AcquireRequestSchema;
`;

/** What the blocks of the README have from around them. */
const PRELUDE = `import * as all from "tollgate";
const { Code, DecisionCode, denialResponse, formatMs, formatUsd, gated, isUnavailable, minutes, requestId, usd } = all;
declare const process: any, metrics: any, store: any, code: any, answer: any, bootId: any, url: string, org: string, executionId: string;
declare const engine: any, banner: any, log: any, currentOrg: any, saveWithin: any, runTheCode: any, callTheModel: any;
const { tollgate } = all;
declare const tg: all.Tollgate, ran: { denial: all.Denial; value: any; allowed: boolean };
`;

/** A block may declare what it shows. */
function hide(body: string): string {
  return `{\n${body}\n}\n`;
}

describe("the package", () => {
  const dir = mkdtempSync(join(tmpdir(), "tollgate-stranger-"));

  before(() => {
    const tarball = execFileSync("npm", ["pack", "--silent", "--pack-destination", dir], {
      cwd: PACKAGE,
      encoding: "utf8",
    }).trim();
    execFileSync("tar", ["-xf", tarball], { cwd: dir });
    const modules = join(dir, "node_modules");
    mkdirSync(modules);
    cpSync(join(dir, "package"), join(modules, "tollgate"), { recursive: true });
    for (const name of ["@bufbuild", "@connectrpc"])
      symlinkSync(join(PACKAGE, "node_modules", name), join(modules, name));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  function says(file: string, text: string): string {
    writeFileSync(join(dir, file), text);
    return execFileSync(process.execPath, [file], { cwd: dir, encoding: "utf8" }).trim();
  }

  function compile(...flags: string[]): void {
    const strict = [
      "--noEmit",
      "--strict",
      "--exactOptionalPropertyTypes",
      "--target",
      "es2022",
      "--lib",
      "es2022,dom",
      "--types",
      "",
    ];
    const tsc = join(PACKAGE, "node_modules/typescript/bin/tsc");
    const ran = spawnSync(process.execPath, [tsc, ...strict, ...flags], {
      cwd: dir,
      encoding: "utf8",
    });
    assert.equal(ran.status, 0, ran.stdout);
  }

  it("is imported as a module", () => {
    const imports = `import { tollgate } from "tollgate"; import { AdminService } from "tollgate/admin"; import { AcquireRequestSchema } from "tollgate/messages";\n`;
    assert.equal(says("esm.mjs", imports + SAYS), "7 object object");
  });

  it("is required", () => {
    const requires = `const { tollgate } = require("tollgate"); const { AdminService } = require("tollgate/admin"); const { AcquireRequestSchema } = require("tollgate/messages");\n`;
    assert.equal(says("cjs.cjs", requires + SAYS), "7 object object");
  });

  it("has types for every way of resolving them", () => {
    for (const name of ["typed.mts", "typed.cts"]) writeFileSync(join(dir, name), TYPED);
    for (const how of [
      ["--module", "node16"],
      ["--module", "nodenext"],
      ["--module", "esnext", "--moduleResolution", "bundler"],
    ]) {
      compile(...how, "typed.mts", ...(how[1] === "esnext" ? [] : ["typed.cts"]));
    }
  });

  it("is used by its README as its types say", () => {
    const blocks = [
      ...readFileSync(join(PACKAGE, "README.md"), "utf8").matchAll(/^```ts\n(.*?)^```$/gms),
    ].map(([, code]) => code!);
    assert.ok(blocks.length > 8);
    const names = blocks
      .filter((code) => !code.startsWith("type "))
      .map((code, number) => {
        const lines = code.split("\n");
        const body = lines.filter((line) => !line.startsWith("import ")).join("\n");
        writeFileSync(
          join(dir, `readme${number}.ts`),
          `${PRELUDE}export async function block() {\n${hide(body)}}\n`,
        );
        return `readme${number}.ts`;
      });
    compile("--module", "esnext", "--moduleResolution", "bundler", ...names);
  });

  it("leaves out of a bundle what is not used", async () => {
    writeFileSync(
      join(dir, "small.mjs"),
      `import { tollgate } from "tollgate"; export default tollgate;`,
    );
    const common = {
      absWorkingDir: dir,
      bundle: true,
      write: false,
      minify: true,
      format: "esm",
    } as const;
    const small = await build({ ...common, entryPoints: ["small.mjs"] });
    const text = small.outputFiles[0]!.text;
    assert.ok(!text.includes("AdminService"), "what operators use is a module of its own");
    const unused = await build({
      ...common,
      stdin: { contents: `import "tollgate"; import "tollgate/admin";`, resolveDir: dir },
      logLevel: "silent",
    });
    assert.equal(unused.outputFiles[0]!.text.trim(), "", "importing it does nothing by itself");
  });

  it("ships no tests", () => {
    const top = readdirSync(join(dir, "package")).sort();
    assert.deepEqual(top, ["LICENSE", "README.md", "dist", "package.json", "src"]);
  });
});
