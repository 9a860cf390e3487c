/** workerd with one bundled Worker, on a port of its own choosing. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { build } from "esbuild";
import { PACKAGE } from "./node.js";

/**
 * The package of the platform has the binary; the script of `workerd` that would look for it is not
 * run.
 */
const ARCHITECTURES: Record<string, string> = { x64: "64", arm64: "arm64" };
export const WORKERD = join(
  PACKAGE,
  `node_modules/@cloudflare/workerd-${process.platform}-${ARCHITECTURES[process.arch]}/bin/workerd`,
);

/** Why tests in workerd cannot run here; false where they can. */
export const noWorkerd = existsSync(WORKERD)
  ? false
  : `there is no ${WORKERD}: npm ci installs it where it exists`;

/** One module of all that the Worker imports. */
export async function bundle(entry: string, to: string): Promise<void> {
  await build({
    entryPoints: [entry],
    outfile: to,
    bundle: true,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker", "import"],
    // Durable Objects are what their name says; the rest of a Worker needs none of Node.
    external: ["cloudflare:workers"],
    logLevel: "error",
  });
}

export interface WorkerOptions {
  readonly bindings?: Readonly<Record<string, string>>;
  /** Durable Objects, by the name of their binding: the name of the class. In memory. */
  readonly objects?: Readonly<Record<string, string>>;
}

export class Workerd {
  readonly #dir: string;
  readonly #process: ChildProcess;
  readonly url: string;

  private constructor(dir: string, child: ChildProcess, url: string) {
    this.#dir = dir;
    this.#process = child;
    this.url = url;
  }

  static async start(entry: string, options: WorkerOptions = {}): Promise<Workerd> {
    const dir = mkdtempSync(join(tmpdir(), "tollgate-workerd-"));
    await bundle(entry, join(dir, "worker.js"));
    writeFileSync(join(dir, "config.capnp"), config(options));
    // Descriptor 3 is where it says on which port it listens.
    const child = spawn(WORKERD, ["serve", "--control-fd=3", "config.capnp"], {
      cwd: dir,
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    const errors: string[] = [];
    createInterface({ input: child.stderr! }).on("line", (line) => errors.push(line));
    for await (const line of createInterface({ input: child.stdio[3] as Readable })) {
      const said = JSON.parse(line) as { event: string; port?: number };
      if (said.event === "listen") return new Workerd(dir, child, `http://127.0.0.1:${said.port}`);
    }
    throw new Error(`workerd did not start:\n${errors.join("\n")}`);
  }

  async close(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function config({ bindings = {}, objects = {} }: WorkerOptions): string {
  const texts = Object.entries(bindings).map(
    ([name, text]) => `(name = ${JSON.stringify(name)}, text = ${JSON.stringify(text)})`,
  );
  const classes = Object.entries(objects).map(
    ([name, of]) =>
      `(name = ${JSON.stringify(name)}, durableObjectNamespace = ${JSON.stringify(of)})`,
  );
  const namespaces = Object.values(objects).map(
    (of) => `(className = ${JSON.stringify(of)}, uniqueKey = ${JSON.stringify(of)})`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    # A node on loopback is not public.
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-01-01",
  bindings = [${[...texts, ...classes].join(", ")}],
  durableObjectNamespaces = [${namespaces.join(", ")}],
  ${namespaces.length ? "durableObjectStorage = (inMemory = void)," : ""}
);
`;
}
