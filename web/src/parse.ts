// Amounts and lengths of time as people write them, in every form that the page shows.

export class Mistake extends Error {}

const SPANS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const SIZES: Record<string, bigint> = {
  b: 1n, kb: 1000n, mb: 1000n ** 2n, gb: 1000n ** 3n, tb: 1000n ** 4n,
  kib: 1024n, mib: 1024n ** 2n, gib: 1024n ** 3n, tib: 1024n ** 4n,
};

/** `4h`, `1h 30m`, `250ms`: milliseconds. */
export function span(text: string): bigint {
  const given = text.trim().toLowerCase();
  const pieces = [...given.matchAll(/(\d+)\s*(ms|s|m|h|d|w)/g)];
  if (pieces.length === 0 || given.replace(/(\d+)\s*(ms|s|m|h|d|w)/g, "").trim() !== "") {
    throw new Mistake(`"${text}" is no length of time: 30m, 4h, 7d`);
  }
  return pieces.reduce((sum, [, count, unit]) => sum + BigInt(count ?? "0") * BigInt(SPANS[unit ?? "s"] ?? 1), 0n);
}

/** `$12.50`, `12.5`, `25usd`, `25000000u`: micro-USD. */
export function money(text: string): bigint {
  const given = text.trim().toLowerCase().replace(/[,\s]/g, "");
  const micros = /^(\d+)u$/.exec(given);
  if (micros) return BigInt(micros[1] ?? "0");
  const usd = /^\$?(\d*)(?:\.(\d{1,6}))?(?:usd)?$/.exec(given);
  if (!usd || (!usd[1] && !usd[2])) throw new Mistake(`"${text}" is no amount of dollars: 12.50`);
  return BigInt(usd[1] || "0") * 1_000_000n + BigInt((usd[2] ?? "").padEnd(6, "0"));
}

function size(text: string): bigint {
  const found = /^(\d+)(?:\.(\d+))?\s*([kmgt]?i?b)?$/.exec(text.trim().toLowerCase().replace(/,/g, ""));
  const unit = SIZES[found?.[3] ?? "b"];
  if (!found || !unit) throw new Mistake(`"${text}" is no size: 500 MB, 1.5 GiB`);
  const scale = 10n ** BigInt((found[2] ?? "").length);
  const value = BigInt((found[1] ?? "") + (found[2] ?? "")) * unit;
  if (value % scale !== 0n) throw new Mistake(`"${text}" is no whole number of bytes`);
  return value / scale;
}

/** An amount in the unit of its meter. */
export function amount(meter: string, text: string): bigint {
  if (text.trim() === "") throw new Mistake("an amount is missing");
  if (meter === "spend") return money(text);
  if (meter === "compute") return /^\d+$/.test(text.trim()) ? BigInt(text.trim()) : span(text);
  if (meter === "bytes") return size(text);
  const given = text.trim().replace(/,/g, "");
  if (!/^\d+$/.test(given)) throw new Mistake(`"${text}" is no whole number: 20000`);
  return BigInt(given);
}

/** What to write in a field of this meter. */
export function hint(meter: string): string {
  switch (meter) {
    case "spend":
      return "in USD, such as 12.50";
    case "compute":
      return "such as 4h or 90m";
    case "bytes":
      return "such as 500 MB";
    default:
      return "a whole number";
  }
}
