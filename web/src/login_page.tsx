// Who uses the page, where the node asks for it.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { enter } from "./login";

export function LoginPage({ why, wrong }: { why: string; wrong: boolean }) {
  const field = useRef<HTMLInputElement>(null);
  const asking = useSignal(false);
  const missing = useSignal("");
  useEffect(() => field.current?.focus(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    // A token is one word; one that was pasted with its line has more around it.
    const token = (field.current?.value ?? "").trim();
    missing.value = token === "" ? "A token is missing." : /[^!-~]/.test(token) ? "A token is one word of ASCII characters, and this one has another character: was it copied whole?" : "";
    if (missing.value || asking.value) return;
    asking.value = true;
    await enter(token);
    asking.value = false;
  };
  const trouble = missing.value || why;
  const isWrong = wrong || missing.value !== "";
  return (
    <main class="login">
      <h1>tollgate</h1>
      <form onSubmit={submit}>
        <label for="token">Token of a viewer or an admin</label>
        <input
          id="token"
          ref={field}
          type="password"
          autocomplete="off"
          spellcheck={false}
          autocapitalize="off"
          aria-describedby="login-why login-help"
          aria-invalid={isWrong}
        />
        <p id="login-why" role="alert" class={isWrong ? "trouble" : "ended"}>{trouble}</p>
        <button class="primary" disabled={asking.value}>{asking.value ? "Signing in" : "Sign in"}</button>
      </form>
      <p id="login-help" class="dim">
        <code>tollgate token create</code> makes one. It stays in this tab, until it ends, you sign out, or the page is not used for
        30 minutes.
      </p>
    </main>
  );
}
