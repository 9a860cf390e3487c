import { signal } from "@preact/signals";

/** What a screen reader says of what has changed. */
export const said = signal("");
