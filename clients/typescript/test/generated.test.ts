/** What is generated is what the protos say now. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { PACKAGE } from "./node.js";

function files(directory: string): Record<string, string> {
  const found = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  return Object.fromEntries(
    found.sort().map((name) => [name, readFileSync(join(directory, name), "utf8")]),
  );
}

it("is generated from the protos as they are", () => {
  const fresh = mkdtempSync(join(tmpdir(), "tollgate-generated-"));
  try {
    const buf = join(PACKAGE, `node_modules/@bufbuild/buf/bin/buf`);
    execFileSync(process.execPath, [buf, "generate", "--output", fresh], {
      cwd: PACKAGE,
      stdio: "pipe",
    });
    const made = files(join(fresh, "src/gen"));
    const kept = files(join(PACKAGE, "src/gen"));
    assert.ok(Object.keys(made).length > 10);
    assert.deepEqual(Object.keys(kept), Object.keys(made));
    for (const [name, text] of Object.entries(made))
      assert.ok(kept[name] === text, `${name} differs: npm run generate`);
  } finally {
    rmSync(fresh, { recursive: true });
  }
});
