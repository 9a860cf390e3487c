// The story in Node; what came of it, and how `fetch` was called.
//
//   node tell.mjs <transport> <base URL> <org>
import { tell } from "./story.mjs";
import { caller, fetched } from "./transports.mjs";

const [kind, baseUrl, org] = process.argv.slice(2);
const told = JSON.parse(await tell(caller(kind, baseUrl), org));
process.stdout.write(JSON.stringify({ ...told, fetched }), () => process.exit(0));
