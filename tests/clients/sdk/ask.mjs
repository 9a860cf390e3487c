// Asks once with each token, by one kind of transport; what came of each, as JSON. An empty token is none.
//
//   node ask.mjs <transport> <base URL> <org> <token>…
import { ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";

import { ErrorInfoSchema } from "./generated/google/rpc/error_details_pb.js";
import { AdminService } from "./generated/tollgate/admin/v1/admin_pb.js";
import { GateService } from "./generated/tollgate/v1/gate_pb.js";
import { caller } from "./transports.mjs";

const [kind, baseUrl, org, ...tokens] = process.argv.slice(2);

async function outcome(call) {
  try {
    await call();
    return ["ok", ""];
  } catch (caught) {
    const error = ConnectError.from(caught);
    return [codeToString(error.code), error.findDetails(ErrorInfoSchema)[0]?.reason];
  }
}

/** Until something comes of a stream. */
async function begun(admin) {
  const cancel = new AbortController();
  for await (const _ of admin.watchEvents({ org }, { signal: cancel.signal, timeoutMs: 10_000 })) {
    cancel.abort();
    return;
  }
  throw new Error("the stream ended without an answer");
}

const outcomes = [];
for (const token of tokens) {
  const client = caller(kind, baseUrl, token);
  const [gate, admin] = [client(GateService), client(AdminService)];
  outcomes.push({
    acquire: await outcome(() => gate.acquire({ org })),
    status: await outcome(() => gate.getStatus({ org })),
    watch: await outcome(() => begun(admin)),
  });
}
process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));
