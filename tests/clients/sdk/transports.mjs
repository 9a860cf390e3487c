// How a client in JavaScript may ask: each kind of transport under a name.
//
// A test copies the files here beside `node_modules`, and beside `generated`, which it makes of the protos of a node.
import { createClient } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";

import { createGrpcJsTransport } from "./grpc_js.mjs";
import { KINDS as WEB_KINDS, strict } from "./web.mjs";

export { fetched } from "./web.mjs";

const [json, binary] = [{ ...strict, useBinaryFormat: false }, { useBinaryFormat: true }];

const KINDS = {
  "connect-http1-json": (to) => node.createConnectTransport({ ...to, httpVersion: "1.1", ...json }),
  "connect-http1-proto": (to) => node.createConnectTransport({ ...to, httpVersion: "1.1", ...binary }),
  "connect-http1-get": (to) => node.createConnectTransport({ ...to, httpVersion: "1.1", ...binary, useHttpGet: true }),
  "connect-http2-json": (to) => node.createConnectTransport({ ...to, httpVersion: "2", ...json }),
  "connect-http2-proto": (to) => node.createConnectTransport({ ...to, httpVersion: "2", ...binary }),
  "connect-http2-get": (to) => node.createConnectTransport({ ...to, httpVersion: "2", ...json, useHttpGet: true }),
  "grpc-web-http1": (to) => node.createGrpcWebTransport({ ...to, httpVersion: "1.1" }),
  "grpc-web-http2": (to) => node.createGrpcWebTransport({ ...to, httpVersion: "2" }),
  "grpc": (to) => node.createGrpcTransport(to),
  ...WEB_KINDS,
  "grpc-js": (to) => createGrpcJsTransport(to),
};

/** Makes clients of services that ask by one kind of transport, with a token where there is one. */
export function caller(kind, baseUrl, token = "") {
  const bearer = (next) => (request) => {
    if (token) request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = KINDS[kind]({ baseUrl, interceptors: [bearer] });
  return (service) => createClient(service, transport);
}
