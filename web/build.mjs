// Builds the page into dist/, which is committed and embedded: `npm run build`. Names of files have a digest of what is in
// them, so the same sources make the same files. `node build.mjs DIRECTORY` builds elsewhere: the test of freshness does.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const MOST_SCRIPT = 150 * 1024;

// The generated types are of clients/typescript; what they import comes from here, once.
const oneRuntime = {
  name: "one-runtime",
  setup(build) {
    build.onResolve({ filter: /^@bufbuild\// }, (found) =>
      found.pluginData === "here"
        ? undefined
        : build.resolve(found.path, { kind: found.kind, resolveDir: here, pluginData: "here" }),
    );
  },
};

export const options = {
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx" },
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  outdir: "out",
  write: false,
  logLevel: "warning",
  metafile: true,
  plugins: [oneRuntime],
};

function named(base, extension, contents) {
  const digest = createHash("sha256").update(contents).digest("hex").slice(0, 10);
  return `${base}-${digest}.${extension}`;
}

export async function build(into) {
  const built = await esbuild.build(options);
  const file = (extension) => built.outputFiles.find((file) => file.path.endsWith(extension));
  const script = file(".js").contents;
  const style = file(".css").contents;
  const icon = await readFile(path.join(here, "src/icon.svg"));
  const files = { script: named("app", "js", script), style: named("app", "css", style), icon: named("icon", "svg", icon) };
  const compressed = gzipSync(script, { level: 9 }).length;
  if (compressed > MOST_SCRIPT) {
    throw new Error(`the script has ${compressed} bytes compressed, at most ${MOST_SCRIPT}`);
  }
  let index = await readFile(path.join(here, "src/index.html"), "utf8");
  for (const [name, to] of Object.entries(files)) {
    index = index.replace(`{${name}}`, `/assets/${to}`);
  }
  await rm(into, { recursive: true, force: true });
  await mkdir(path.join(into, "assets"), { recursive: true });
  await writeFile(path.join(into, "index.html"), index);
  await writeFile(path.join(into, "assets", files.script), script);
  await writeFile(path.join(into, "assets", files.style), style);
  await writeFile(path.join(into, "assets", files.icon), icon);
  return { script: script.length, compressed, style: style.length, metafile: built.metafile };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const into = path.resolve(process.argv[2] ?? path.join(here, "dist"));
  const { script, compressed, style, metafile } = await build(into);
  console.log(`script ${script} bytes, ${compressed} compressed; style ${style} bytes`);
  if (process.env.ANALYZE) console.log(await esbuild.analyzeMetafile(metafile));
}
