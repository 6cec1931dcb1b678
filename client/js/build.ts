// Builds the bundle for a script tag, and holds the committed one to its sources.
//
//   node build.ts           write bundle/meridian.min.js
//   node build.ts --check   fail if it is not what the sources give, or is larger than promised
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const root = import.meta.dirname;
const file = `${root}/bundle/meridian.min.js`;
/** Bytes, minified and gzipped. */
const most = 15 * 1024;

/**
 * The names that the bundle must not shorten: the platform's, and every one in the declarations
 * of index.ts and of what these import, since who uses the package may rely on it.
 */
async function keptNames(): Promise<Set<string>> {
  const dir = await mkdtemp(`${tmpdir()}/meridian-`);
  try {
    execFileSync(process.execPath, [
      `${root}/node_modules/typescript/bin/tsc`, "-p", `${root}/tsconfig.dist.json`, "--emitDeclarationOnly", "--outDir", dir,
    ]);
    const platform = `${root}/node_modules/@typescript/typescript-${process.platform}-${process.arch}/lib`;
    const files = (await readdir(platform)).filter((f) => /^lib\.(dom|es).*\.d\.ts$/.test(f)).map((f) => `${platform}/${f}`);
    const names = new Set<string>(), seen = new Set<string>();
    files.push(`${dir}/index.d.ts`);
    for (let file; (file = files.pop()); ) {
      if (seen.has(file)) continue;
      seen.add(file);
      const text = (await readFile(file, "utf8")).replace(/\/\*[^]*?\*\//g, "");
      for (const [, imported] of text.matchAll(/ from "\.\/(\w+)\.[jt]s"/g)) files.push(`${dir}/${imported}.d.ts`);
      for (const [name] of text.matchAll(/[\w$]+/g)) names.add(name);
    }
    return names;
  } finally {
    await rm(dir, { recursive: true });
  }
}

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
    minify: true,
    write: false,
    format: "iife",
    target: ["es2022"],
  });
  const { code } = await minify(outputFiles[0]!.text, {
    ecma: 2020,
    toplevel: true,
    compress: { ecma: 2020, passes: 2, inline: 1, sequences: false, keep_fargs: false },
    mangle: { properties: { builtins: true, keep_quoted: true, reserved: [...(await keptNames())] } },
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
