// Amounts and lengths of time as people write them, in every form that the page shows. What could be read in two ways is a mistake.
import * as format from "./format";

export class Mistake extends Error {}

/** As the node takes them: an amount in the unit of its meter, and ten years. */
const MOST = 10n ** 16n;
const LONGEST = 315_360_000_000n;

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

/** How long something lasts. */
export function lasting(text: string): bigint {
  const length = span(text);
  if (length < 1000n) throw new Mistake(`"${text}" is too short: a second at least`);
  if (length > LONGEST) throw new Mistake(`"${text}" is too long: 3650d at most`);
  return length;
}

/** Without the commas that part thousands. Any other comma may be meant as a point. */
function withoutCommas(text: string): string {
  const given = text.trim().toLowerCase();
  if (!given.includes(",") || /^\$?\d{1,3}(,\d{3})+(\.\d+)?\s*[a-z]*$/.test(given)) return given.replaceAll(",", "");
  const [, whole, part] = /^\$?(\d+),(\d+)\s*[a-z]*$/.exec(given) ?? [];
  throw new Mistake(whole ? `"${text}": write ${whole}.${part}` : `"${text}": commas are for thousands, such as 1,500`);
}

/** `$12.50`, `12.5`, `25usd`, `25000000u`: micro-USD. */
export function money(text: string): bigint {
  const given = withoutCommas(text);
  const micros = /^(\d+)u$/.exec(given);
  if (micros) return bounded("spend", text, BigInt(micros[1] ?? "0"));
  const usd = /^\$?\s*(\d*)(?:\.(\d+))?\s*(?:usd)?$/.exec(given);
  if (!usd || (!usd[1] && !usd[2])) throw new Mistake(`"${text}" is no amount of dollars: 12.50`);
  if ((usd[2] ?? "").length > 6) throw new Mistake(`"${text}" has more than six digits behind the point`);
  return bounded("spend", text, BigInt(usd[1] || "0") * 1_000_000n + BigInt((usd[2] ?? "").padEnd(6, "0")));
}

function size(text: string): bigint {
  const found = /^(\d+)(?:\.(\d+))?\s*([kmgt]?i?b)?$/.exec(withoutCommas(text));
  const unit = SIZES[found?.[3] ?? "b"];
  if (!found || !unit) throw new Mistake(`"${text}" is no size: 500 MB, 1.5 GiB`);
  const scale = 10n ** BigInt((found[2] ?? "").length);
  const value = BigInt((found[1] ?? "") + (found[2] ?? "")) * unit;
  if (value % scale !== 0n) throw new Mistake(`"${text}" is no whole number of bytes`);
  return value / scale;
}

function whole(text: string): bigint {
  const given = /^[\d,]+$/.test(text.trim()) ? withoutCommas(text) : "";
  if (!given) throw new Mistake(`"${text}" is no whole number: 20000`);
  return BigInt(given);
}

function bounded(meter: string, text: string, value: bigint): bigint {
  if (value > MOST) throw new Mistake(`"${text}" is too much: ${format.amount(meter, MOST)} at most`);
  return value;
}

/** An amount in the unit of its meter. */
export function amount(meter: string, text: string): bigint {
  if (text.trim() === "") throw new Mistake("an amount is missing");
  if (meter === "spend") return money(text);
  const value = meter === "bytes" ? size(text) : meter === "compute" && !/^\d+$/.test(text.trim()) ? span(text) : whole(text);
  return bounded(meter, text, value);
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
