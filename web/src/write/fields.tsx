// Fields that several changes have.
import type { Signal } from "@preact/signals";
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import * as parse from "../parse";

export function Text(props: { label: string; value: Signal<string>; hint?: string; first?: boolean; id?: string }) {
  return (
    <label class="line">
      <span>{props.label}{props.hint && <em class="dim"> {props.hint}</em>}</span>
      <input
        type="text"
        autocomplete="off"
        spellcheck={false}
        value={props.value.value}
        {...(props.id ? { id: props.id } : {})}
        {...(props.first ? { "data-first": "" } : {})}
        onInput={(event) => (props.value.value = event.currentTarget.value)}
      />
    </label>
  );
}

export function Choice(props: { label: string; value: Signal<string>; choices: [string, string][]; id?: string }) {
  return (
    <label class="line">
      <span>{props.label}</span>
      <select {...(props.id ? { id: props.id } : {})} value={props.value.value} onChange={(event) => (props.value.value = event.currentTarget.value)}>
        {props.choices.map(([value, name]) => <option key={value} value={value}>{name}</option>)}
      </select>
    </label>
  );
}

const LENGTHS: [string, string][] = [["1h", "1 hour"], ["4h", "4 hours"], ["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"]];

/** How long something lasts: one of the usual lengths, another one, or what `open` calls without an end. */
export function Lasts({ value, other, open }: { value: Signal<string>; other: Signal<string>; open: string }) {
  return (
    <>
      <Choice label="For" id="lasts" value={value} choices={[...LENGTHS, ["", open], ["other", "another time"]]} />
      {value.value === "other" && <Text label="Length of time" hint="such as 90m or 2d 12h" value={other} />}
    </>
  );
}

/** Milliseconds; 0 = without an end. */
export function lasting(value: string, other: string): bigint {
  if (value === "") return 0n;
  return parse.lasting(value === "other" ? other : value);
}

/** The limits of an org, to choose one of; the scope goes before the name, and neither has a line break. */
export function LimitChoice({ data, value, only }: { data: GetOrgResponse; value: Signal<string>; only?: (name: string) => boolean }) {
  const limits = data.limits.filter((limit) => !limit.scope.startsWith("account/") && (only?.(limit.name) ?? true));
  const choices = limits.map((limit): [string, string] => [`${limit.scope}\n${limit.name}`, limit.scope ? `${limit.name} of ${limit.scope}` : limit.name]);
  if (value.value && !choices.some(([each]) => each === value.value)) {
    const [scope = "", name = ""] = value.value.split("\n");
    choices.unshift([value.value, scope ? `${name} of ${scope}` : name]);
  }
  return <Choice label="Limit" id="limit" value={value} choices={choices} />;
}

export function chosen(value: string): { scope: string; limit: string } {
  const [scope = "", limit = ""] = value.split("\n");
  if (!limit) throw new parse.Mistake("a limit is missing");
  return { scope, limit };
}

/** What a limit counts, by its name where the org does not have it yet: `quota/scans` counts `scans`. */
export function meterOf(data: GetOrgResponse, value: string): string {
  const [scope = "", name = ""] = value.split("\n");
  const known = data.limits.find((limit) => limit.scope === scope && limit.name === name)?.meter;
  if (known) return known;
  return name.startsWith("budget/") ? "spend" : (name.split("/")[1] ?? name);
}
