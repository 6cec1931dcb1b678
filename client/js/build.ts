// Builds the bundle for a script tag, and holds the committed one to its sources.
//
//   node build.ts           write bundle/meridian.min.js
//   node build.ts --check   fail if it is not what the sources give, or is larger than promised
import { readFile, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const root = import.meta.dirname;
const file = `${root}/bundle/meridian.min.js`;
/** Bytes, minified and gzipped. */
const most = 15 * 1024;

/** The bundle: a classic script that sets `globalThis.meridian`. */
export async function bundle(): Promise<string> {
  const { version, license } = JSON.parse(await readFile(`${root}/package.json`, "utf8"));
  const names = Object.keys(await import("./src/index.ts")).join(",");
  const { outputFiles } = await build({
    stdin: {
      contents: `import {${names}} from "./src/index.ts"; globalThis.meridian = {${names}};`,
      resolveDir: root,
    },
    bundle: true,
    minifySyntax: true,
    write: false,
    format: "iife",
    target: ["es2022"],
  });
  const { code } = await minify(outputFiles[0]!.text, {
    ecma: 2020,
    toplevel: true,
    format: { preamble: `/*! @meridian-relay/client ${version}, ${license} */` },
  });
  return code! + "\n";
}

if (process.argv[1] === import.meta.filename) {
  const text = await bundle();
  const gzipped = gzipSync(text, { level: 9 }).length;
  console.log(`bundle: ${text.length} bytes, ${gzipped} gzipped, at most ${most}`);
  if (process.argv.includes("--check")) {
    if ((await readFile(file, "utf8").catch(() => "")) !== text) {
      console.error("client/js/bundle/meridian.min.js is not what client/js/src gives; run make generate");
      process.exitCode = 1;
    }
  } else {
    await writeFile(file, text);
  }
  if (gzipped > most) {
    console.error(`the bundle has ${gzipped} bytes gzipped, ${gzipped - most} more than promised`);
    process.exitCode = 1;
  }
}
