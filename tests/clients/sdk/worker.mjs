// The story in a Worker: /<transport>/<org>?<base URL>
import { tell } from "./story.mjs";
import { caller } from "./web.mjs";

export default {
  async fetch(request) {
    const { pathname, search } = new URL(request.url);
    const [, kind, org] = pathname.split("/");
    return new Response(await tell(caller(kind, decodeURIComponent(search.slice(1))), org));
  },
};
