// Amounts, times and shares as people read them, in the words of the command.

const DAY = 86_400_000;
const MICROS = 1_000_000n;
const CENT = 10_000n;

/** `1,234,567`. */
export function grouped(number: bigint | number): string {
  const text = number.toString();
  const sign = text.startsWith("-") ? "-" : "";
  return sign + text.slice(sign.length).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** `1 call`, `2,000 calls`. */
export function counted(number: bigint | number, one: string, many = `${one}s`): string {
  return `${grouped(number)} ${BigInt(number) === 1n ? one : many}`;
}

/** `$12.50`, and `$0.000050` where cents do not say it exactly. */
export function dollars(micros: bigint): string {
  const sign = micros < 0n ? "-" : "";
  const size = micros < 0n ? -micros : micros;
  const fraction = size % MICROS;
  const digits = fraction % CENT === 0n ? (fraction / CENT).toString().padStart(2, "0") : fraction.toString().padStart(6, "0");
  return `${sign}$${grouped(size / MICROS)}.${digits}`;
}

/** An amount in the unit of its meter: `$12.50`, `1h 2m 3s`, `1,048,576 B`, `17`. */
export function amount(meter: string, value: bigint): string {
  const sign = value < 0n ? "-" : "";
  const size = value < 0n ? -value : value;
  switch (meter) {
    case "spend":
      return dollars(value);
    case "compute":
      return sign + span(Number(size));
    case "bytes":
      return `${sign}${grouped(size)} B`;
    default:
      return sign + grouped(size);
  }
}

/** Bytes for a glance, in steps of 1000: `12.4 MB`. */
export function bytes(value: bigint): string {
  const units = ["B", "KB", "MB", "GB", "TB", "PB"];
  let [size, unit] = [Number(value), 0];
  while (size >= 1000 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1];
  return `${unit === 0 ? size : size.toFixed(size < 10 ? 2 : 1)} ${units[unit]}`;
}

function parts(millis: number, units: [number, string][]): string {
  const words: string[] = [];
  let rest = millis;
  for (const [size, name] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) words.push(`${count}${name}`);
  }
  return words.join(" ") || "0s";
}

/** A length of time, exactly: `1h 2m 3s`, `250ms`. */
export function span(millis: number): string {
  return parts(millis, [[3_600_000, "h"], [60_000, "m"], [1000, "s"], [1, "ms"]]);
}

/** What a clock here and one there may differ by: `4h` that have just begun are not `4h 1m`. */
const SLACK = 1000;

/** A wait of two units, rounded up so that it is never shown too short: `2d 3h`, `1h 5m`, `42m 10s`. */
export function wait(millis: number): string {
  if (millis > 2 * DAY - 3_600_000) return parts(Math.ceil((millis - SLACK) / 3_600_000) * 3_600_000, [[DAY, "d"], [3_600_000, "h"]]);
  if (millis > 3_600_000 - 60_000) return parts(Math.ceil((millis - SLACK) / 60_000) * 60_000, [[3_600_000, "h"], [60_000, "m"]]);
  return parts(Math.ceil(millis / 1000) * 1000, [[60_000, "m"], [1000, "s"]]);
}

/** What has passed, rounded down. */
export function passed(millis: number): string {
  if (millis >= 2 * DAY) return parts(Math.floor(millis / 3_600_000) * 3_600_000, [[DAY, "d"], [3_600_000, "h"]]);
  if (millis >= 3_600_000) return parts(Math.floor(millis / 60_000) * 60_000, [[3_600_000, "h"], [60_000, "m"]]);
  return parts(Math.floor(millis / 1000) * 1000, [[60_000, "m"], [1000, "s"]]);
}

/** `in 42m 10s`, `now`, `3m 5s ago`. */
export function relative(now: number, at: number): string {
  if (at > now) return `in ${wait(at - now)}`;
  return now - at < 1000 ? "now" : `${passed(now - at)} ago`;
}

const two = (number: number) => number.toString().padStart(2, "0");

/** `2026-11-22 08:30:00 UTC`. */
export function utc(at: number): string {
  return Number.isFinite(at) && Math.abs(at) < 8.64e15 ? `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC` : `${at} ms`;
}

/** `2026-11-22 08:30 UTC`, for paper. */
export function minuteOf(at: number): string {
  return utc(at).replace(/:\d\d UTC$/, " UTC");
}

/** The same where the reader is. */
export function local(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(at)} local`;
}

function clock(at: number): string {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** `08:30`, of UTC. */
export function hourOf(at: number): string {
  return new Date(at).toISOString().slice(11, 16);
}

/** `08:30:00`, of UTC. */
export function secondOf(at: number): string {
  return new Date(at).toISOString().slice(11, 19);
}

/** `2026-11-22`, of UTC. */
export function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** `0`, `0.5`, `12`. */
export function rate(value: number): string {
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(1) : grouped(Math.round(value));
}

/** What a limit has taken of what it may, in whole percent, as the node counts it. */
export function percent(taken: bigint, usable: bigint): number {
  if (usable <= 0n) return taken > 0n || usable <= 0n ? 100 : 0;
  return Number((taken * 100n) / usable);
}
