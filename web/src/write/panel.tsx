// A change of an org: what it will be, as the node itself says it without doing it, then the change.
import type { ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import { Code } from "@connectrpc/connect";
import { useEffect, useRef } from "preact/hooks";
import { call, codeOf, requestId, sentence } from "../api";
import type { Limit } from "@gen/v1/gate_pb.js";
import { amount } from "../format";
import { Mistake } from "../parse";
import { When } from "../parts";
import { closePanel } from "../route";
import { said } from "../say";
import { named } from "../words";
import type { CallOptions } from "@connectrpc/connect";

export type Change = { what: string; old: string; new: string };
/** What a call has done, or would do. */
export type Outcome = { changes: Change[]; untilMs?: bigint; ends?: string; notes?: string[]; replayed?: boolean };
export type Asked = { requestId: string; reason: string; dryRun: boolean };

export type Form = {
  title: string;
  /** What it does, in one sentence. */
  does: string;
  fields: ComponentChildren;
  send: (asked: Asked, options: CallOptions) => Promise<Outcome>;
  /** Where there is nothing to compare with: it is carried out at once. */
  hasNoPreview?: boolean;
  needsNoReason?: boolean;
  /** What has to be typed for what cannot be undone. */
  typeName?: string;
  danger?: boolean;
  /** What somebody else has made of it meanwhile. */
  conflict?: (options: CallOptions) => Promise<string>;
  applied?: () => void;
  verb?: string;
};

export function Panel({ form, done }: { form: Form; done: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useRef(requestId());
  const reason = useSignal("");
  const typed = useSignal("");
  const preview = useSignal<Outcome | undefined>(undefined);
  const applied = useSignal<Outcome | undefined>(undefined);
  const trouble = useSignal<{ text: string; both?: string } | undefined>(undefined);
  const busy = useSignal(false);
  useEffect(() => {
    const element = dialog.current;
    const back = document.activeElement as HTMLElement | null;
    element?.showModal();
    element?.querySelector<HTMLElement>("[data-first], input, select, textarea")?.focus();
    return () => back?.isConnected && back.focus();
  }, []);

  const attempt = async (dryRun: boolean) => {
    trouble.value = undefined;
    if (!form.needsNoReason && reason.value.trim() === "") {
      trouble.value = { text: "A reason is missing: it is kept with the change." };
      dialog.current?.querySelector<HTMLElement>("#reason")?.focus();
      return;
    }
    busy.value = true;
    try {
      const asked = { requestId: id.current, reason: reason.value.trim(), dryRun };
      const outcome = await call((options) => form.send(asked, options));
      if (dryRun) preview.value = outcome;
      else {
        applied.value = outcome;
        said.value = `${form.title}: done. ${outcome.changes.map((each) => `${each.what}: ${each.old} to ${each.new}`).join("; ")}`;
        form.applied?.();
        done();
      }
    } catch (error) {
      preview.value = undefined;
      if (error instanceof Mistake) trouble.value = { text: error.message };
      else {
        const text = sentence(error);
        const both = codeOf(error) === Code.Aborted && form.conflict ? await call(form.conflict).catch(() => "") : "";
        trouble.value = both ? { text, both } : { text };
        // What was refused is another call from now on.
        if (codeOf(error) !== Code.Unavailable && codeOf(error) !== Code.DeadlineExceeded) id.current = requestId();
      }
    } finally {
      busy.value = false;
    }
  };
  const submit = (event: Event) => {
    event.preventDefault();
    if (!busy.value && !applied.value) void attempt(!preview.value && !form.hasNoPreview);
  };
  const isNamed = form.typeName === undefined || typed.value === form.typeName;
  const isReady = preview.value !== undefined || form.hasNoPreview === true;
  const shown = applied.value ?? preview.value;
  return (
    <dialog ref={dialog} class="panel" aria-labelledby="panel-title" onClose={closePanel}>
      <form onSubmit={submit} onInput={() => (preview.value = undefined)}>
        <header>
          <h2 id="panel-title">{form.title}</h2>
          <button type="button" class="small" onClick={() => dialog.current?.close()}>Close</button>
        </header>
        <p class="does">{form.does}</p>
        <fieldset disabled={applied.value !== undefined}>
          {form.fields}
          {!form.needsNoReason && (
            <label class="line">
              <span>Reason</span>
              <input id="reason" type="text" maxLength={256} autocomplete="off" value={reason.value} onInput={(event) => (reason.value = event.currentTarget.value)} />
            </label>
          )}
          {form.typeName !== undefined && isReady && (
            <label class="line">
              <span>Type <code>{form.typeName}</code> to confirm: this cannot be undone</span>
              <input id="confirm-name" type="text" autocomplete="off" spellcheck={false} value={typed.value} onInput={(event) => {
                // What it would do stays as it was shown.
                event.stopPropagation();
                typed.value = event.currentTarget.value;
              }} />
            </label>
          )}
        </fieldset>
        {shown && <Shown outcome={shown} isDone={applied.value !== undefined} />}
        {trouble.value && (
          <div class="trouble" role="alert">
            <p>{trouble.value.text}</p>
            {trouble.value.both && <p>{trouble.value.both}</p>}
          </div>
        )}
        <footer>
          {applied.value ? (
            <button type="button" class="primary" onClick={() => dialog.current?.close()}>Done</button>
          ) : isReady ? (
            <button class={form.danger ? "danger primary" : "primary"} disabled={busy.value || !isNamed}>{busy.value ? "Working" : (form.verb ?? "Apply")}</button>
          ) : (
            <button class="primary" disabled={busy.value}>{busy.value ? "Asking the node" : "Preview"}</button>
          )}
          {!applied.value && <button type="button" onClick={() => dialog.current?.close()}>Cancel</button>}
        </footer>
      </form>
    </dialog>
  );
}

function Shown({ outcome, isDone }: { outcome: Outcome; isDone: boolean }) {
  return (
    <div class={`outcome ${isDone ? "done" : ""}`} role="status">
      <h3>{isDone ? "Done" : "What it would do"}</h3>
      {outcome.replayed && <p class="note">It was carried out before.</p>}
      <dl>
        {outcome.changes.map((change) => (
          <div key={change.what}>
            <dt class="mono">{change.what}</dt>
            <dd>
              <span class="old">{change.old}</span> <span aria-label="becomes">→</span> <strong>{change.new}</strong>
            </dd>
          </div>
        ))}
        {(outcome.untilMs !== undefined || outcome.ends) && (
          <div>
            <dt>until</dt>
            <dd>{outcome.untilMs ? <When at={outcome.untilMs} /> : (outcome.ends ?? "it is cleared")}</dd>
          </div>
        )}
      </dl>
      {outcome.notes?.map((note) => <p key={note} class="note">{note}</p>)}
    </div>
  );
}

/** A limit as one text: `$5.00`, `unlimited`, `1,000 in shadow`. */
export function limitText(limit: Limit | undefined): string {
  if (!limit) return "no limit";
  const text = limit.unlimited ? "unlimited" : amount(limit.meter, limit.amount);
  return limit.shadow ? `${text} in shadow` : text;
}

/** The change of one limit, and what of it is used. */
export function limitChange(name: { name: string; scope: string }, before: Limit | undefined, after: Limit | undefined): Change[] {
  const changes = [{ what: named(name), old: limitText(before), new: limitText(after) }];
  const [was, is] = [before && amount(before.meter, before.used), after && amount(after.meter, after.used)];
  if (was !== undefined && is !== undefined && was !== is) changes.push({ what: "used", old: was, new: is });
  return changes;
}
