// The frame of every screen: where one is, who one is, whether the node answers, and the keys.
import { effect, signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { askNode, away, isDown, silent } from "./api";
import { ClusterPage } from "./cluster";
import { EventsPage } from "./events";
import { Fleet } from "./fleet";
import { passed, secondOf } from "./format";
import { LoginPage } from "./login_page";
import { begin, caller, login, signOut } from "./login";
import { OrgPage } from "./org/page";
import { OrgsPage } from "./orgs";
import { go, place, query, restore, type Place } from "./route";
import { said } from "./say";
import { forget, pending, useSource } from "./source";
import { close, live, open } from "./stream";
import { now } from "./time";

const keysShown = signal(false);

effect(() => {
  if (login.value.state === "in") open();
  else {
    close();
    forget();
  }
});

const TITLES = { fleet: "Fleet", orgs: "Orgs", cluster: "Cluster", events: "Events", nowhere: "Not found" };
effect(() => {
  const at = place.value;
  document.title = `${at.page === "org" ? at.org : TITLES[at.page]} · tollgate`;
});

export function App() {
  useEffect(() => void begin(), []);
  const at = login.value;
  if (at.state === "asking") return <p class="begin" aria-busy="true">Asking the node</p>;
  if (at.state === "away") {
    return (
      <main class="begin">
        <h1>tollgate</h1>
        <p class="trouble" role="alert">{at.why}</p>
        <p class="dim">Asking again every 2 seconds.</p>
      </main>
    );
  }
  if (at.state === "out") return <LoginPage why={at.why} wrong={at.wrong} />;
  return <Shell />;
}

const LINKS = [
  ["/", "Fleet"],
  ["/orgs", "Orgs"],
  ["/cluster", "Cluster"],
  ["/events", "Events"],
] as const;

function Shell() {
  const at = place.value;
  const here = at.page === "org" ? "/orgs" : at.page === "fleet" ? "/" : `/${at.page}`;
  useKeys();
  return (
    <>
      <a class="skip" href="#main">Skip to the content</a>
      <header class="top">
        <a class="brand" href="/">tollgate</a>
        <nav aria-label="Screens">
          {LINKS.map(([to, name]) => (
            <a key={to} href={to} {...(here === to ? { "aria-current": "page" as const } : {})}>{name}</a>
          ))}
        </nav>
        <Search />
        <NodeState />
        <Who />
      </header>
      <Connection />
      <main id="main" tabIndex={-1}>
        <Screen />
      </main>
      <p class="hidden" aria-live="polite">{said.value}</p>
      {keysShown.value && <Keys />}
    </>
  );
}

/** A screen is shown when what it has asked first is answered, so that nothing moves while it comes; or after this time. */
const SHOWN_WITHIN = 1000;

function Screen() {
  const at = place.value;
  const key = at.page === "org" ? `org ${at.org}` : at.page;
  const shown = useSignal("");
  useEffect(() => {
    const show = () => {
      if (shown.peek() === key) return;
      const isFirst = shown.peek() === "";
      shown.value = key;
      requestAnimationFrame(() => {
        if (!isFirst) arrived();
        // Where it was left, or the part that the address names.
        if (isFirst) restore();
        if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
      });
    };
    const timer = setTimeout(show, SHOWN_WITHIN);
    const stop = effect(() => {
      if (pending.value === 0) show();
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [key]);
  return <div class={shown.value === key ? "" : "coming"}>{screenOf(at)}</div>;
}

/** Who uses keys or hears the page goes on from the heading of the new screen; who is typing a search is left there. */
function arrived(): void {
  said.value = document.title;
  if (document.activeElement?.id === "search" || document.querySelector("dialog[open]")) return;
  const heading = document.querySelector<HTMLElement>("main h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

function screenOf(at: Place) {
  switch (at.page) {
    case "fleet":
      return <Fleet />;
    case "orgs":
      return <OrgsPage />;
    case "org":
      return <OrgPage key={at.org} org={at.org} />;
    case "cluster":
      return <ClusterPage />;
    case "events":
      return <EventsPage />;
    case "nowhere":
      return (
        <>
          <h1>Not found</h1>
          <p>No screen has the address <code>{at.path}</code>. <a href="/">Fleet</a> and <a href="/orgs">Orgs</a> are there.</p>
        </>
      );
  }
}

/** Names of orgs by what they begin with: as one types on the list, with Enter from everywhere else. */
function Search() {
  const text = useSignal("");
  const isList = place.value.page === "orgs";
  const shown = isList ? (query.value.get("q") ?? "") : text.value;
  return (
    <search>
      <form
        class="search"
        onSubmit={(event) => {
          event.preventDefault();
          if (!isList) go(`/orgs?q=${encodeURIComponent(text.value.trim())}`);
        }}
      >
        <input
          id="search"
          type="search"
          placeholder="Search orgs"
          aria-label="Search orgs by the beginning of their name"
          aria-keyshortcuts="/"
          autocomplete="off"
          spellcheck={false}
          maxLength={128}
          value={shown}
          onInput={(event) => {
            text.value = event.currentTarget.value;
            if (isList) window.dispatchEvent(new CustomEvent("search", { detail: text.value }));
          }}
        />
        <kbd aria-hidden="true">/</kbd>
      </form>
    </search>
  );
}

function NodeState() {
  const source = useSource("node", 3000, askNode);
  const node = source.data.value;
  if (isDown.value) return <p class="node red">{node && <span class="mono">{node.node}</span>} no answer</p>;
  if (!node) return <p class="node" />;
  const isWell = node.health === "serving" && node.clock === "steady";
  return (
    <p class={`node ${isWell ? "" : "red"}`} title={`tollgate ${node.version}, store ${node.store}, clock ${node.clock}`}>
      <span class="mono">{node.node}</span> {node.health}
      {node.clock !== "steady" && `, clock: ${node.clock}`}
      <time class="dim" title="Service time of the node">{secondOf(now.value)} UTC</time>
    </p>
  );
}

function Who() {
  const who = caller.value;
  if (!who) return null;
  if (!who.authenticated) {
    return (
      <p class="who">
        <span class="dim" title="[auth] is not configured: everybody is an admin of every org">no login</span>
        <KeysButton />
      </p>
    );
  }
  return (
    <p class="who">
      <span title={`orgs ${who.orgs.join(", ")}`}>
        <span class="mono">{who.name}</span> <span class="dim">{who.role}</span>
      </span>
      <button type="button" class="small" onClick={signOut}>Sign out</button>
      <KeysButton />
    </p>
  );
}

function KeysButton() {
  return (
    <button type="button" class="small keys" aria-label="Keys" aria-keyshortcuts="?" onClick={() => (keysShown.value = true)}>
      ?
    </button>
  );
}

function Connection() {
  const gone = away.value;
  if (gone) {
    return (
      <p class="away" role="alert">
        Not connected since {secondOf(gone.since)} UTC, retrying: {gone.why}. What is shown is as it was then.
      </p>
    );
  }
  if (silent.value > 0) return <p class="away">No answer for {passed(silent.value)}. What is shown is older.</p>;
  if (live.value.trouble) return <p class="away" role="status">Events are incomplete: {live.value.trouble}</p>;
  return null;
}

const KEYS: [string, string][] = [
  ["/", "search orgs"],
  ["?", "these keys"],
  ["Esc", "close a panel, or leave the search"],
  ["g then f", "Fleet"],
  ["g then o", "Orgs"],
  ["g then c", "Cluster"],
  ["g then e", "Events"],
];
const GO: Record<string, string> = { f: "/", o: "/orgs", c: "/cluster", e: "/events" };

function useKeys() {
  useEffect(() => {
    let afterG = 0;
    const pressed = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.key === "Escape" && target.id === "search") target.blur();
      const isTyping = /^(TEXTAREA|SELECT)$/.test(target.tagName) || (target instanceof HTMLInputElement && target.type !== "checkbox");
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const goes = Date.now() - afterG < 1500 ? GO[event.key] : undefined;
      afterG = event.key === "g" ? Date.now() : 0;
      if (event.key === "/") document.getElementById("search")?.focus();
      else if (event.key === "?") keysShown.value = true;
      else if (goes) go(goes);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

function Keys() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="keys-dialog" aria-labelledby="keys-title" onClose={() => (keysShown.value = false)}>
      <h2 id="keys-title">Keys</h2>
      <dl class="keys-list">
        {KEYS.map(([key, does]) => (
          <div key={key}>
            <dt><kbd>{key}</kbd></dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => dialog.current?.close()}>Close</button>
    </dialog>
  );
}
