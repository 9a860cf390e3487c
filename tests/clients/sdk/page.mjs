// The story in a page of another site: `tell` is called by browse.mjs.
import { tell } from "./story.mjs";
import { caller } from "./web.mjs";

globalThis.tell = (kind, baseUrl, org) => tell(caller(kind, baseUrl), org);
