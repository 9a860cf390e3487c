/** Amounts, times, answers, request ids. */
import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { DecisionCode, formatMs, formatUsd, requestId, tollgate, usd } from "tollgate";

it("takes dollars without losing any", () => {
  assert.deepEqual(
    [usd(0.05), usd("12.50"), usd("$3"), usd(0.1 + 0.2), usd(0), usd("0.000001")],
    [50_000n, 12_500_000n, 3_000_000n, 300_000n, 0n, 1n],
  );
  for (const wrong of [1e-7, -1, Number.NaN, Infinity, 0.1234567, 1e21])
    assert.throws(() => usd(wrong), RangeError, String(wrong));
  for (const wrong of ["", "1e3", "1,5", "0.0000001", "10000000001"])
    assert.throws(() => usd(wrong), RangeError, wrong);
});

it("writes what it reads", () => {
  fc.assert(fc.property(fc.bigInt(0n, 10n ** 16n), (micro) => usd(formatUsd(micro)) === micro));
  assert.deepEqual(
    [formatUsd(12_500_000n), formatUsd(125n), formatUsd(-50_000n), formatUsd(0n)],
    ["$12.50", "$0.000125", "-$0.05", "$0.00"],
  );
});

it("writes lengths for people", () => {
  const lengths = [0, 350.2, 1000, 59_000, 59_001, 3_600_000, 7_800_000, 86_400_000, 273_600_000];
  assert.deepEqual(lengths.map(formatMs), [
    "0 ms",
    "351 ms",
    "1 s",
    "59 s",
    "1 min",
    "1 h",
    "2 h 10 min",
    "1 d",
    "3 d 4 h",
  ]);
});

it("runs nothing of which an answer says that it is not allowed, whatever else it says", async () => {
  const answers = [
    {},
    { allowed: false },
    { code: 99 },
    { code: "DECISION_CODE_OF_TOMORROW", more: 7 },
  ];
  for (const answer of answers) {
    const fetch = async () => Response.json(answer);
    const tg = tollgate({ url: "http://127.0.0.1:1", protocol: "connect-json", fetch });
    const denied = await tg.guard("acme", () => assert.fail("it ran"));
    assert.ok(!denied.allowed && denied.denial.code === DecisionCode.UNSPECIFIED);
    assert.deepEqual([denied.denial.httpStatus, tg.stats.failOpen], [503, 0]);
  }
});

it("makes ids that are UUIDs of version 7 and say when they were made", () => {
  const now = Date.now();
  const ids = new Set(Array.from({ length: 1000 }, () => requestId()));
  assert.equal(ids.size, 1000);
  for (const id of ids) {
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.ok(Math.abs(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16) - now) < 60_000);
  }
});
