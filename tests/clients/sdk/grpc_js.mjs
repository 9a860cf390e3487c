// The stock client of gRPC, with the interface of a transport of Connect, so that it runs the same story.
import { readFileSync } from "node:fs";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { createMethodUrl, runStreamingCall, runUnaryCall } from "@connectrpc/connect/protocol";
import grpc from "@grpc/grpc-js";

import { StatusSchema } from "./generated/google/rpc/status_pb.js";

/** The codes of both are the same numbers; details are in a trailer. */
function connectError(error) {
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const made = new ConnectError(error.details ?? error.message, error.code);
  for (const { typeUrl, value } of packed ? fromBinary(StatusSchema, packed).details : []) {
    made.details.push({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value });
  }
  return made;
}

async function* messages(call) {
  try {
    yield* call;
  } catch (error) {
    throw connectError(error);
  }
}

async function send(call, input, schema) {
  for await (const each of input) {
    call.write(create(schema, each));
  }
  call.end();
}

export function createGrpcJsTransport({ baseUrl, interceptors }) {
  const url = new URL(baseUrl);
  const credentials = url.protocol === "https:"
    ? grpc.credentials.createSsl(readFileSync(process.env.NODE_EXTRA_CA_CERTS))
    : grpc.credentials.createInsecure();
  const client = new grpc.Client(url.host, credentials);

  const prepared = (method, request) => {
    const metadata = new grpc.Metadata();
    request.header.forEach((value, name) => metadata.set(name, value));
    const path = new URL(request.url).pathname;
    const encode = (message) => Buffer.from(toBinary(method.input, message));
    return [path, encode, (bytes) => fromBinary(method.output, bytes), metadata];
  };
  const until = (signal, call) => signal.addEventListener("abort", () => call.cancel());
  const asked = (method, stream, header, message) => ({
    stream, service: method.parent, method, requestMethod: "POST", url: createMethodUrl(baseUrl, method),
    header: new Headers(header), message,
  });
  const answered = (request, message) => ({
    stream: request.stream, service: request.service, method: request.method, header: new Headers(),
    trailer: new Headers(), message,
  });
  const options = (timeoutMs) => (timeoutMs > 0 ? { deadline: Date.now() + timeoutMs } : {});

  return {
    unary: (method, signal, timeoutMs, header, message) => runUnaryCall({
      interceptors, signal, timeoutMs, req: asked(method, false, header, message),
      next: (request) => new Promise((resolve, reject) => {
        const [path, encode, decode, metadata] = prepared(method, request);
        const done = (error, answer) => (error ? reject(connectError(error)) : resolve(answered(request, answer)));
        const call = client.makeUnaryRequest(path, encode, decode, request.message, metadata, options(timeoutMs), done);
        until(request.signal, call);
      }),
    }),
    stream: (method, signal, timeoutMs, header, input) => runStreamingCall({
      interceptors, signal, timeoutMs, req: asked(method, true, header, input),
      next: async (request) => {
        const call = client.makeBidiStreamRequest(...prepared(method, request), options(timeoutMs));
        until(request.signal, call);
        send(call, request.message, method.input).catch(() => call.cancel());
        return answered(request, messages(call));
      },
    }),
  };
}
