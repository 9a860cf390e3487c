// How a client may ask that has nothing but `fetch`: each kind of transport under a name.
import { createClient } from "@connectrpc/connect";
import * as web from "@connectrpc/connect-web";

// A field of an answer that the protos do not have is an error.
export const strict = { jsonOptions: { ignoreUnknownFields: false } };
const [json, binary] = [{ ...strict, useBinaryFormat: false }, { useBinaryFormat: true }];

/** How often `fetch` was called with which method. */
export const fetched = {};
// workerd knows no `redirect: "error"`.
const fetch = (url, { redirect: _, ...init }) => {
  fetched[init.method] = (fetched[init.method] ?? 0) + 1;
  return globalThis.fetch(url, init);
};

export const KINDS = {
  "fetch-connect-json": (to) => web.createConnectTransport({ ...to, fetch, ...json }),
  "fetch-connect-proto": (to) => web.createConnectTransport({ ...to, fetch, ...binary }),
  "fetch-connect-get": (to) => web.createConnectTransport({ ...to, fetch, ...json, useHttpGet: true }),
  "fetch-grpc-web": (to) => web.createGrpcWebTransport({ ...to, fetch }),
};

/** Makes clients of services. */
export const caller = (kind, baseUrl) => {
  const transport = KINDS[kind]({ baseUrl });
  return (service) => createClient(service, transport);
};
