// Serves the page as it is in src/, built anew for each load, and passes everything else on to a node:
// `NODE=http://127.0.0.1:7071 PORT=7090 npm run dev`. Only for work on the page.
import http from "node:http";
import { mkdtemp, readFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { build } from "./build.mjs";

const node = new URL(process.env.NODE ?? "http://127.0.0.1:7071");
const port = Number(process.env.PORT ?? 7090);
const into = await mkdtemp(path.join(os.tmpdir(), "tollgate-page-"));
const kinds = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const isPage = (at) => at === "/" || /^\/(orgs|cluster|events)(\/|$)/.test(at);

function pass(request, answer) {
  // The node takes a page of its own: it sees itself as where the page is from.
  const headers = { ...request.headers, host: node.host };
  if (headers.origin) headers.origin = node.origin;
  const passed = http.request({ host: node.hostname, port: node.port, path: request.url, method: request.method, headers });
  passed.on("response", (got) => {
    answer.writeHead(got.statusCode, got.headers);
    got.pipe(answer);
  });
  passed.on("error", () => answer.destroy());
  answer.on("close", () => passed.destroy());
  request.pipe(passed);
}

http
  .createServer(async (request, answer) => {
    const at = new URL(request.url, "http://page").pathname;
    if (at.startsWith("/assets/")) {
      const file = await readFile(path.join(into, at)).catch(() => undefined);
      answer.writeHead(file ? 200 : 404, { "content-type": kinds[path.extname(at)] ?? "text/plain" });
      answer.end(file);
    } else if (request.method === "GET" && isPage(at)) {
      await build(into).catch((error) => console.error(error));
      answer.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" });
      answer.end(await readFile(path.join(into, "index.html")));
    } else {
      pass(request, answer);
    }
  })
  .listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/ of ${node.origin}`));
