/**
 * Amounts of meters, money and time. On the wire amounts are 64-bit integers: money is micro-USD,
 * compute is milliseconds. A double holds integers up to 2^53 only, so amounts that come from
 * tollgate are `bigint`.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AmountSchema } from "./gen/tollgate/v1/gate_pb.js";

/** The most that tollgate takes as one amount. */
const MOST = 10n ** 16n;

/**
 * Amounts by meter: `executions` (count), `spend` (micro-USD, see `usd`), `compute` (milliseconds),
 * `bytes`, or a meter of the operator's. Each is an integer from 0 to 10^16.
 */
export type Amounts = Readonly<Record<string, number | bigint>>;

/** Amounts as decimal texts, which JSON can carry. */
export type AmountTexts = Readonly<Record<string, string>>;

/**
 * Micro-USD of a sum in dollars: `usd(0.05)`, `usd("12.50")`. At most six decimals; a RangeError
 * otherwise.
 */
export function usd(dollars: number | string): bigint {
  const text = typeof dollars === "number" ? decimal(dollars) : dollars.trim().replace(/^\$/, "");
  const parts = /^(\d+)(?:\.(\d{1,6}))?$/.exec(text);
  if (!parts)
    throw new RangeError(
      `usd: ${dollars} is not allowed: dollars from 0 on with at most six decimals`,
    );
  return bounded("usd", BigInt(parts[1]!) * 1_000_000n + BigInt((parts[2] ?? "").padEnd(6, "0")));
}

/**
 * Of a double such as 0.1 + 0.2 the decimals that it means, and not those of its last bits; of one
 * that has more than six, all of them.
 */
function decimal(dollars: number): string {
  const rounded = dollars.toFixed(6);
  return Math.abs(Number(rounded) - dollars) <= Math.max(1e-9, dollars * 1e-15)
    ? rounded
    : String(dollars);
}

/** `$12.50` of micro-USD; parts of a cent where there are some: `$0.000125`. */
export function formatUsd(microUsd: bigint): string {
  const sign = microUsd < 0n ? "-" : "";
  const value = microUsd < 0n ? -microUsd : microUsd;
  const parts = (value % 1_000_000n)
    .toString()
    .padStart(6, "0")
    .replace(/0{1,4}$/, "");
  return `${sign}$${value / 1_000_000n}.${parts}`;
}

/** Milliseconds of seconds. */
export const seconds = (count: number): number => count * 1000;
/** Milliseconds of minutes. */
export const minutes = (count: number): number => count * 60_000;
/** Milliseconds of hours. */
export const hours = (count: number): number => count * 3_600_000;

/**
 * A length for people, rounded up in its last unit: `350 ms`, `12 s`, `5 min`, `2 h 10 min`, `3 d 4
 * h`.
 */
export function formatMs(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.ceil(milliseconds)} ms`;
  const all = Math.ceil(milliseconds / 1000);
  if (all < 60) return `${all} s`;
  const allMinutes = Math.ceil(all / 60);
  if (allMinutes < 60) return `${allMinutes} min`;
  if (allMinutes < 1440) return pair(allMinutes, 60, "h", "min");
  return pair(Math.ceil(allMinutes / 60), 24, "d", "h");
}

function pair(count: number, per: number, large: string, small: string): string {
  const rest = count % per;
  return `${Math.floor(count / per)} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

/** What the messages have for amounts. */
export function toWire(
  amounts: Amounts | AmountTexts | undefined,
): MessageInitShape<typeof AmountSchema>[] {
  return Object.entries(amounts ?? {}).map(([meter, amount]) => ({
    meter,
    amount: whole(meter, amount),
  }));
}

/** The same amounts as texts. */
export function toTexts(amounts: Amounts | undefined): AmountTexts {
  return Object.fromEntries(
    Object.entries(amounts ?? {}).map(([meter, amount]) => [meter, String(whole(meter, amount))]),
  );
}

/** The sum by meter. */
export function sum(left: Amounts, right: Amounts): Amounts {
  const total: Record<string, bigint> = {};
  for (const [meter, amount] of [...Object.entries(left), ...Object.entries(right)]) {
    total[meter] = bounded(meter, (total[meter] ?? 0n) + whole(meter, amount));
  }
  return total;
}

function whole(meter: string, amount: number | bigint | string): bigint {
  if (typeof amount === "number" && !Number.isSafeInteger(amount)) {
    throw new RangeError(
      `${meter}: ${amount} is not allowed: an integer in the unit of the meter (money: usd(0.05))`,
    );
  }
  return bounded(meter, BigInt(amount));
}

function bounded(name: string, amount: bigint): bigint {
  if (amount < 0n || amount > MOST)
    throw new RangeError(`${name}: ${amount} is not allowed: 0 to ${MOST}`);
  return amount;
}
