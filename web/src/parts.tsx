// What every screen is made of.
import type { ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import type { Limit } from "@gen/v1/gate_pb.js";
import { isDown } from "./api";
import { amount, local, minuteOf, passed, relative, utc, wait } from "./format";
import { caller } from "./login";
import { orgPath } from "./route";
import type { Source } from "./source";
import { now } from "./time";
import { level, type Level } from "./words";

/** An instant by its distance; the instant itself, here and in UTC, where it is pointed at or has the focus. */
export function Time({ at, quiet }: { at: bigint | number; quiet?: boolean }) {
  const ms = Number(at);
  if (ms === 0) return <span class="dim">–</span>;
  const exact = `${utc(ms)} · ${local(ms)}`;
  return (
    <time class="tip" dateTime={new Date(ms).toISOString()} data-tip={exact} data-minute={minuteOf(ms)} {...(quiet ? {} : { tabIndex: 0 })}>
      {relative(now.value, ms)}
    </time>
  );
}

/** An instant itself, with its distance. */
export function When({ at }: { at: bigint | number }) {
  const ms = Number(at);
  if (ms === 0) return <span class="dim">–</span>;
  return (
    <time class="number" dateTime={new Date(ms).toISOString()} title={local(ms)}>
      {utc(ms)} <span class="dim">({relative(now.value, ms)})</span>
    </time>
  );
}

/** A time to wait for, without `in`. */
export function Until({ at }: { at: bigint | number }) {
  const ms = Number(at);
  const left = ms - now.value;
  return (
    <time class="tip" dateTime={new Date(ms).toISOString()} data-tip={`${utc(ms)} · ${local(ms)}`} data-minute={minuteOf(ms)} tabIndex={0}>
      {left > 0 ? wait(left) : "now"}
    </time>
  );
}

export function OrgLink({ org, name }: { org: string; name?: string }) {
  return (
    <a class="mono" href={orgPath(org)}>
      {name || org}
    </a>
  );
}

/** A token may be of some orgs alone: what is listed is no more than them. */
export function Only() {
  const orgs = caller.value?.orgs ?? ["*"];
  return orgs.includes("*") ? null : <p class="dim">Only what this token may see: {orgs.join(", ")}</p>;
}

/** A word with a colour that says the same. */
export function Tag({ tone, children }: { tone: "red" | "amber" | "green" | "plain" | "accent"; children: ComponentChildren }) {
  return <span class={`tag ${tone}`}>{children}</span>;
}

/** A share of something, as a bar and in words for who does not see it. */
export function Progress(props: { label: string; value: number; max: number; text: string; level: Level; shadow?: boolean; held?: number }) {
  const share = props.max > 0 ? Math.min(props.value / props.max, 1) : 1;
  const held = props.max > 0 && props.held ? Math.min(props.held / props.max, 1 - share) : 0;
  return (
    <div
      class={`bar ${props.level}${props.shadow ? " shadow" : ""}`}
      role="progressbar"
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuenow={props.max > 0 ? Math.min(props.value + (props.held ?? 0), props.max) : 0}
      aria-valuemax={props.max}
      aria-valuetext={props.text}
    >
      <span class="fill" style={{ width: `${share * 100}%` }} />
      {held > 0 && <span class="held" style={{ left: `${share * 100}%`, width: `${held * 100}%` }} />}
    </div>
  );
}

export function LimitBar({ limit }: { limit: Limit }) {
  const { level: at, percent, word } = level(limit);
  if (limit.unlimited) return <span class="dim">unlimited</span>;
  const usable = Number(limit.amount - limit.buffer);
  const text = `${amount(limit.meter, limit.used)} of ${amount(limit.meter, limit.amount)} used, ${percent} %${word ? `, ${word}` : ""}`;
  return (
    <Progress
      label={`${limit.name}${limit.scope ? ` of ${limit.scope}` : ""}`}
      value={Number(limit.used)}
      held={Number(limit.reserved)}
      max={Math.max(usable, 0)}
      text={text}
      level={at}
      shadow={limit.shadow}
    />
  );
}

/** The words beside a bar: `82 % near`. */
export function Share({ limit }: { limit: Limit }) {
  const { level: at, percent, word } = level(limit);
  if (limit.unlimited) return null;
  return (
    <span class={`share ${at}`}>
      <span class="number">{percent} %</span> {word}
    </span>
  );
}

/** A section of a screen, with its state: loading, old, or not to be had. */
export function Section(props: {
  title: string;
  id?: string;
  of?: Source<unknown>;
  aside?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section class="section" {...(props.id ? { id: props.id } : {})} aria-label={props.title}>
      <header>
        <h2>{props.title}</h2>
        {props.of && <Age of={props.of} />}
        {props.aside && <div class="aside">{props.aside}</div>}
      </header>
      {props.children}
    </section>
  );
}

/** What is shown is not of now. */
export function isStale({ old, error }: Pick<Source<unknown>, "old" | "error">): boolean {
  return old.value || error.value !== undefined || isDown.value;
}

/** `3m 5s ago`. */
export function ago(at: number): string {
  return `${passed(Math.max(now.value - at, 0))} ago`;
}

/** Says that what is shown is not of now, or why there is nothing. */
export function Age({ of }: { of: Source<unknown> }) {
  const { at, error } = of;
  if (!at.value || !isStale(of)) return null;
  return (
    <span class="age" {...(error.value ? { role: "status" } : {})}>
      as of {ago(at.value)}{error.value ? `: ${error.value.text}` : isDown.value ? "" : ", loading"}
    </span>
  );
}

/** The answer, or what there is instead of it. What is old is greyed. */
export function Loaded<T>({ of, children }: { of: Source<T>; children: (data: T) => ComponentChildren }) {
  const data = of.data.value;
  if (data === undefined) {
    if (of.error.value) return <p class="trouble">{of.error.value.text}</p>;
    return <p class="loading" aria-busy="true">Loading</p>;
  }
  return <div class={isStale(of) ? "stale" : ""}>{children(data)}</div>;
}

/** Nothing is there: what would be, and the command for it. */
export function Empty({ children, command }: { children: ComponentChildren; command?: string }) {
  return (
    <div class="empty">
      <p>{children}</p>
      {command && <Command text={command} />}
    </div>
  );
}

/** A command to be pasted. */
export function Command({ text }: { text: string }) {
  const copied = useSignal(false);
  const copy = () => {
    const done = navigator.clipboard?.writeText(text);
    if (done) {
      void done.then(() => {
        copied.value = true;
        setTimeout(() => (copied.value = false), 2000);
      });
    }
  };
  return (
    <div class="command">
      <code>{text}</code>
      {"clipboard" in navigator && (
        <button type="button" class="small" onClick={copy} aria-label={`Copy the command ${text}`}>
          {copied.value ? "Copied" : "Copy"}
        </button>
      )}
    </div>
  );
}

/** Names and values. */
export function Facts({ rows, lines }: { lines?: boolean; rows: ([string, ComponentChildren] | false | undefined)[] }) {
  return (
    <dl class={lines ? "facts lines" : "facts"}>
      {rows.map((row) =>
        row ? (
          <div key={row[0]}>
            <dt>{row[0]}</dt>
            <dd>{row[1]}</dd>
          </div>
        ) : null,
      )}
    </dl>
  );
}

/** A table that is read row by row on a phone; each cell says there what it is. */
export function Table(props: { label: string; columns: Column[]; children: ComponentChildren; class?: string }) {
  return (
    <div class="scroll">
      <table class={`cards ${props.class ?? ""}`} aria-label={props.label}>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th key={column.name} scope="col" class={column.class ?? ""}>
                {column.hidden ? <span class="hidden">{column.name}</span> : column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </div>
  );
}

export type Column = { name: string; class?: string; hidden?: boolean };

/** One of some choices. */
export function Choose(props: { label: string; value: string; choices: [string, string][]; onPick: (value: string) => void }) {
  return (
    <label class="pick">
      <span>{props.label}</span>
      <select value={props.value} onChange={(event) => props.onPick(event.currentTarget.value)}>
        {props.choices.map(([value, name]) => (
          <option key={value} value={value} selected={value === props.value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
