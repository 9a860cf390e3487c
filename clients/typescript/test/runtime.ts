/** The story, told by a runtime with a command line: `runtime.js URL HUNG PROTOCOL ORG`. */
import process from "node:process";
import type { Protocol } from "tollgate";
import { story } from "./story.js";

const [url, hung, protocol, org] = process.argv.slice(2);
console.log(JSON.stringify(await story(url!, hung!, protocol as Protocol, org!)));
