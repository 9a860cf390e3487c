/** The story in Deno and in Bun, whose binaries are in the packages of their platforms. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { FaultProxy } from "./faults.js";
import { fresh, limited, PACKAGE, TollgateNode } from "./node.js";
import { expected, PLAN } from "./story.js";

const { platform, arch } = process;
const DENO = { x64: "x64-glibc", arm64: "arm64-glibc" }[arch as "x64" | "arm64"];
const BUN = { x64: "x64", arm64: "aarch64" }[arch as "x64" | "arm64"];
const RUNTIMES = {
  Deno: {
    binary: `@deno/${platform}-${DENO}/deno`,
    flags: ["run", "--quiet", "--allow-net", "--allow-env", "--allow-read", "--no-remote"],
  },
  Bun: { binary: `@oven/bun-${platform}-${BUN}/bin/bun`, flags: ["run"] },
};

describe("another runtime", () => {
  let node: TollgateNode;
  let hung: FaultProxy;

  before(async () => {
    node = await TollgateNode.start(limited(2, PLAN));
    hung = await FaultProxy.start(() => node.url);
    hung.fault = "hang";
  });
  after(async () => {
    await hung.close();
    await node.close();
  });

  for (const [name, { binary, flags }] of Object.entries(RUNTIMES)) {
    const path = join(PACKAGE, "node_modules", binary);
    it(
      `${name} tells the story`,
      {
        skip: existsSync(path) ? false : `there is no ${path}: npm ci installs it where it exists`,
      },
      async () => {
        for (const protocol of ["connect", "connect-json", "grpc-web"]) {
          const run = [...flags, ".test/runtime.js", node.url, hung.url, protocol, fresh()];
          const { stdout } = await promisify(execFile)(path, run, {
            cwd: PACKAGE,
            timeout: 60_000,
          });
          assert.deepEqual(JSON.parse(stdout), expected, protocol);
        }
      },
    );
  }
});
