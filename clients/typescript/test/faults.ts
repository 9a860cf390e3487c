/** A proxy in front of a node, which does to each call what its header `x-fault` says. */
import {
  createServer,
  request,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { anyPack, DurationSchema } from "@bufbuild/protobuf/wkt";
import { create } from "@bufbuild/protobuf";
import { ErrorInfoSchema, RetryInfoSchema } from "tollgate/messages";

/** Each way in which an answer can be missing. */
export const FAULTS = [
  /** The connection is closed before anything is read. */
  "refuse",
  /** No answer, ever. */
  "hang",
  /** An answer that comes too late. */
  "slow",
  /** The node has decided, and its answer is lost. */
  "lose",
  /** The connection is cut in the middle of the answer. */
  "cut",
  /** A page of something else. */
  "500",
  "502",
  "page",
  /** The right type and bytes that mean nothing. */
  "garbage",
  /** As a node that drains, and one that sheds load. */
  "draining",
  "overload",
] as const;

export type Fault = (typeof FAULTS)[number] | "pass";

/** Longer than any budget of the tests that use it. */
const SLOW_MS = 400;

export class FaultProxy {
  readonly #server: Server;
  readonly #held = new Set<ServerResponse>();
  /** Of calls without the header. */
  fault: Fault = "pass";
  /** Calls that came. */
  calls = 0;
  #url = "";

  private constructor(private readonly target: () => string) {
    this.#server = createServer((asked, answer) => void this.#serve(asked, answer));
  }

  static async start(target: () => string): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    await new Promise<void>((listening) => proxy.#server.listen(0, "127.0.0.1", listening));
    proxy.#url = `http://127.0.0.1:${(proxy.#server.address() as AddressInfo).port}`;
    return proxy;
  }

  get url(): string {
    return this.#url;
  }

  async close(): Promise<void> {
    for (const answer of this.#held) answer.destroy();
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  async #serve(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    this.calls += 1;
    const fault = (asked.headers["x-fault"] as Fault | undefined) ?? this.fault;
    answer.on("error", () => {});
    asked.on("error", () => {});
    if (fault === "refuse") return void asked.socket.destroy();
    const body: Buffer[] = [];
    try {
      for await (const chunk of asked) body.push(chunk as Buffer);
    } catch {
      return;
    }
    const path = asked.url ?? "/";
    const type = asked.headers["content-type"] ?? "";
    switch (fault) {
      case "hang":
        return void this.#held.add(answer);
      case "500":
        return void answer.writeHead(500, { "content-type": "text/html" }).end("<h1>oh no</h1>");
      case "502":
        return void answer.writeHead(502).end();
      case "page":
        return void answer.writeHead(200, { "content-type": "text/html" }).end("<h1>welcome</h1>");
      case "garbage":
        return void answer
          .writeHead(200, { "content-type": type })
          .end(Buffer.from("fffefdfc00112233", "hex"));
      case "draining":
        return fail(answer, 503, "unavailable", "DRAINING", 1);
      case "overload":
        return fail(answer, 429, "resource_exhausted", "NODE_OVERLOADED", 0.1);
      default:
        await this.#forward(fault, path, asked, Buffer.concat(body), answer).catch(() =>
          answer.destroy(),
        );
    }
  }

  async #forward(
    fault: Fault,
    path: string,
    asked: IncomingMessage,
    body: Buffer,
    answer: ServerResponse,
  ): Promise<void> {
    const { host: _, "x-fault": __, ...headers } = asked.headers;
    const got = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(
        `${this.target()}${path}`,
        { method: asked.method ?? "POST", headers },
        resolve,
      );
      sent.on("error", reject).end(body);
    });
    const chunks: Buffer[] = [];
    for await (const chunk of got) chunks.push(chunk as Buffer);
    const whole = Buffer.concat(chunks);
    if (fault === "lose") return void answer.destroy();
    if (fault === "slow") await new Promise((over) => setTimeout(over, SLOW_MS));
    const { "transfer-encoding": ___, connection: ____, ...kept } = got.headers;
    answer.writeHead(got.statusCode ?? 500, { ...kept, "content-length": whole.length });
    if (fault !== "cut") return void answer.end(whole);
    answer.write(whole.subarray(0, whole.length / 2), () => answer.destroy());
  }
}

/** An error as tollgate writes it over Connect. */
function fail(
  answer: ServerResponse,
  status: number,
  code: string,
  reason: string,
  retrySeconds: number,
): void {
  const retryDelay = create(DurationSchema, {
    seconds: BigInt(Math.floor(retrySeconds)),
    nanos: (retrySeconds % 1) * 1e9,
  });
  const details = [
    anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "tollgate" })),
    anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })),
  ].map(({ typeUrl, value }) => ({
    type: typeUrl.split("/")[1],
    value: Buffer.from(value).toString("base64").replace(/=+$/, ""),
  }));
  answer
    .writeHead(status, { "content-type": "application/json" })
    .end(JSON.stringify({ code, message: reason, details }));
}
