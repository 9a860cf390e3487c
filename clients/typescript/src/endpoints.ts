/**
 * One transport over the addresses of a client: a call that fails at one goes to the next one when
 * it is retried.
 */
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { mistake } from "./errors.js";
import { portable } from "./fetch.js";
import type { Addressed, Transported } from "./options.js";

/** Milliseconds for which an address is avoided after a failure, doubled with each one in a row. */
const AVOIDED_MS = 250;
const AVOIDED_AT_MOST_MS = 10_000;

interface Endpoint {
  readonly transport: Transport;
  failures: number;
  avoidedUntil: number;
}

/** Failures that are about the address and not about the call. */
const ABOUT_THE_ADDRESS: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.ResourceExhausted,
  Code.Unknown,
  Code.Internal,
]);

/** Sends each call to an address that works, and keeps to it. */
export class Endpoints implements Transport {
  readonly #endpoints: readonly Endpoint[];
  #at: number | undefined;

  constructor(transports: readonly Transport[]) {
    this.#endpoints = transports.map((transport) => ({
      transport,
      failures: 0,
      avoidedUntil: 0,
    }));
  }

  readonly unary: Transport["unary"] = async (method, signal, timeoutMs, header, input, values) => {
    const message = written(method.input, input);
    return this.#send(signal, (transport) =>
      transport.unary(method, signal, timeoutMs, header, message, values),
    );
  };

  readonly stream: Transport["stream"] = (method, signal, ...rest) =>
    this.#send(signal, (transport) => transport.stream(method, signal, ...rest));

  /** Whether another address may answer a call that this one did not. */
  hasAnother(): boolean {
    const now = performance.now();
    return this.#endpoints.length > 1 && this.#endpoints.some((each) => each.avoidedUntil <= now);
  }

  async #send<T>(
    signal: AbortSignal | undefined,
    send: (transport: Transport) => Promise<T>,
  ): Promise<T> {
    const endpoint = this.#pick();
    try {
      const answer = await send(endpoint.transport);
      endpoint.failures = 0;
      endpoint.avoidedUntil = 0;
      return answer;
    } catch (error) {
      const isCallers =
        signal?.aborted && ConnectError.from(signal.reason).code !== Code.DeadlineExceeded;
      if (!isCallers && ABOUT_THE_ADDRESS.has(ConnectError.from(error).code)) {
        const pause = Math.min(AVOIDED_MS * 2 ** endpoint.failures, AVOIDED_AT_MOST_MS);
        endpoint.failures += 1;
        endpoint.avoidedUntil = performance.now() + pause;
      }
      throw error;
    }
  }

  /**
   * The current one unless it is to be avoided, else the next that is not, else the one that is
   * so for the least time.
   */
  #pick(): Endpoint {
    const now = performance.now();
    const all = this.#endpoints;
    // Not all clients begin with the same node. Chosen late: a Worker may make a client before
    // its first request, when it has no random numbers.
    const from = this.#at ?? Math.floor(Math.random() * all.length);
    const turn = all.map((_, step) => (from + step) % all.length);
    const usable = turn.find((at) => all[at]!.avoidedUntil <= now);
    const at =
      usable ??
      turn.reduce((best, next) =>
        all[next]!.avoidedUntil < all[best]!.avoidedUntil ? next : best,
      );
    this.#at = at;
    const picked = all[at]!;
    // One call finds out whether it works again; the others avoid it meanwhile.
    if (picked.failures > 0) picked.avoidedUntil = Math.max(picked.avoidedUntil, now + AVOIDED_MS);
    return picked;
  }
}

/**
 * The message of a call, if it can be written. A transport would say the same as of an outage.
 */
function written<I extends DescMessage>(schema: I, input: MessageInitShape<I>): MessageShape<I> {
  try {
    const message = create(schema, input);
    toBinary(schema, message);
    return message;
  } catch (error) {
    throw mistake(String(error), Code.InvalidArgument, error);
  }
}

/**
 * The transports of the options, one for each address. Errors: RangeError for an address that is
 * none.
 */
export function endpointsOf(options: Addressed | Transported): Endpoints {
  if (options.transport) return new Endpoints([options.transport]);
  if (typeof options.token === "string" && !authorization(options.token))
    throw new RangeError("token: it has characters that no header may have");
  const urls = typeof options.url === "string" ? [options.url] : [...options.url];
  if (urls.length === 0) throw new RangeError("url: [] is not allowed: at least one address");
  const interceptors = options.token === undefined ? [] : [bearer(options.token)];
  const fetch = portable(options.fetch);
  return new Endpoints(
    urls.map((url) => {
      const common = { baseUrl: baseUrl(url), fetch, interceptors };
      if (options.protocol === "grpc-web") return createGrpcWebTransport(common);
      return createConnectTransport({
        ...common,
        useBinaryFormat: options.protocol !== "connect-json",
      });
    }),
  );
}

function baseUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== "http:" && parsed?.protocol !== "https:") {
    throw new RangeError(
      `url: ${JSON.stringify(url)} is not allowed: http://HOST:PORT or https://HOST:PORT`,
    );
  }
  return url.replace(/\/+$/, "");
}

function bearer(token: string | (() => string | Promise<string>)): Interceptor {
  return (next) => async (request) => {
    let value: string;
    try {
      value = typeof token === "string" ? token : await token();
    } catch (error) {
      // Whoever gives tokens out is away: the call was not asked, and not refused.
      throw new ConnectError(
        "the function `token` failed",
        Code.Unavailable,
        undefined,
        undefined,
        error,
      );
    }
    const header = authorization(value);
    if (!header)
      throw mistake(
        "the token has characters that no header may have",
        Code.Unauthenticated,
        undefined,
      );
    request.header.set("authorization", header);
    return next(request);
  };
}

/** The header of a token; undefined where there can be none. */
function authorization(token: string): string | undefined {
  const value = `Bearer ${token}`.trim();
  return /^[\x20-\x7e]*$/.test(value) ? value : undefined;
}
