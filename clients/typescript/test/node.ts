/**
 * A real node: the binary of `TOLLGATE_BINARY` (default: the release build) on ports of its own
 * choosing.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The directory of the package. */
export const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
export const BINARY =
  process.env["TOLLGATE_BINARY"] ?? join(PACKAGE, "../../target/release/tollgate");

/** Every org may execute so often in a year, which does not end during a test. */
export function limited(executions: number, more = ""): string {
  return `[plans.all]\nexecutions = { calendar_year = ${executions} }\n${more}\n[defaults]\nplan = "all"\n`;
}

export class TollgateNode {
  readonly #dir = mkdtempSync(join(tmpdir(), "tollgate-sdk-"));
  readonly #config: string;
  #process: ChildProcess | undefined;
  #listen = { grpc: "127.0.0.1:0", http: "127.0.0.1:0" };

  private constructor(config: string) {
    this.#config = join(this.#dir, "tollgate.toml");
    writeFileSync(this.#config, config);
  }

  static async start(config = ""): Promise<TollgateNode> {
    const node = new TollgateNode(config);
    await node.start();
    return node;
  }

  /** Of the port that has room for planes. */
  get url(): string {
    return `http://${this.#listen.grpc}`;
  }

  get httpUrl(): string {
    return `http://${this.#listen.http}`;
  }

  /** Starts on the ports that it had. */
  async start(): Promise<void> {
    const { grpc, http } = this.#listen;
    const flags = [
      "--config",
      this.#config,
      "--data-dir",
      join(this.#dir, "data"),
      "--grpc",
      grpc,
      "--http",
      http,
    ];
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith("TOLLGATE"));
    const env = {
      ...Object.fromEntries(own),
      TOLLGATE__LOG__FORMAT: "json",
      TOLLGATE__BOUNDS__DRAIN_NOTICE_MS: "0",
      // A node that stands still for longer lets calls through uncounted, as it should.
      TOLLGATE__BOUNDS__RATE_BUDGET_MS: "2000",
      TOLLGATE__BOUNDS__DECISION_BUDGET_MS: "4250",
    };
    const child = spawn(BINARY, ["serve", ...flags], {
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process = child;
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      lines.push(line);
      const said = JSON.parse(line.startsWith("{") ? line : "{}") as {
        message?: string;
        fields?: { message?: string };
      };
      const up = { ...said, ...said.fields } as {
        message?: string;
        grpc: string;
        http: string;
      };
      if (up.message !== "tollgate is up") continue;
      this.#listen = { grpc: up.grpc, http: up.http };
      child.stderr.resume();
      return;
    }
    throw new Error(`${BINARY} did not start:\n${lines.join("\n")}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** SIGTERM or SIGKILL, and waits for its end. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGCONT");
    child.kill(signal);
    await ended;
  }

  async close(): Promise<void> {
    await this.stop("SIGKILL");
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** A budget for a decision that has to come, on a machine that does much else. */
export const PATIENT_MS = 10_000;

let orgs = 0;

/** An org that no other test uses. */
export function fresh(name = "org"): string {
  orgs += 1;
  return `${name}-${process.pid}-${orgs}`;
}

/** Asks until it holds; an error after ten seconds. */
export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  for (
    const until = Date.now() + 10_000;
    Date.now() < until;
    await new Promise((next) => setTimeout(next, 20))
  ) {
    if (await holds()) return;
  }
  throw new Error(`not within 10 s: ${what}`);
}
