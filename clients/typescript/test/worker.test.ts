/** R-REACH-1: the story in a Worker, in the runtime that runs them. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { join } from "node:path";
import { FaultProxy } from "./faults.js";
import { eventually, fresh, limited, PACKAGE, TollgateNode } from "./node.js";
import { expected, PLAN } from "./story.js";
import { noWorkerd, Workerd } from "./workerd.js";

describe("a Worker", { skip: noWorkerd }, () => {
  let node: TollgateNode;
  let hung: FaultProxy;
  let worker: Workerd;

  before(async () => {
    node = await TollgateNode.start(limited(2, PLAN));
    hung = await FaultProxy.start(() => node.url);
    hung.fault = "hang";
    worker = await Workerd.start(join(PACKAGE, ".test/worker.js"));
  });
  after(async () => {
    await worker?.close();
    await hung.close();
    await node.close();
  });

  for (const protocol of ["connect", "connect-json", "grpc-web"]) {
    for (const port of ["url", "httpUrl"] as const) {
      it(`tells the story over ${protocol} on ${port}`, async () => {
        const query = new URLSearchParams({
          url: node[port],
          hung: hung.url,
          protocol,
          org: fresh(),
        });
        const told = await fetch(`${worker.url}/story?${query}`);
        const text = await told.text();
        assert.equal(told.status, 200, text);
        assert.deepEqual(JSON.parse(text), expected);
      });
    }
  }

  it("shares a client between requests: an outage ends for all of them, and so does its end", async () => {
    const proxy = await FaultProxy.start(() => node.url);
    proxy.fault = "hang";
    interface Told {
      ran: string;
      stats: {
        breaker: string;
        failOpen: number;
        settlementsFailed: number;
        settled: number;
      };
    }
    const guard = async (org: string): Promise<Told> => {
      const told = await fetch(
        `${worker.url}/guard?${new URLSearchParams({ url: proxy.url, org })}`,
      );
      const text = await told.text();
      assert.equal(told.status, 200, text);
      return JSON.parse(text) as Told;
    };
    const outage = await Promise.all(Array.from({ length: 12 }, () => guard(fresh())));
    assert.deepEqual(new Set(outage.map(({ ran }) => ran)), new Set(["failOpen"]));
    proxy.fault = "pass";
    const org = fresh();
    await eventually(async () => (await guard(org)).ran === "tollgate", "it is asked again");
    await eventually(async () => (await guard(org)).ran === "denied", "and denies");
    const { stats } = await guard(org);
    assert.deepEqual(
      [stats.breaker, stats.settlementsFailed, stats.settled > 0],
      ["closed", 0, true],
    );
    await proxy.close();
  });
});
