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
 * that index.ts exports and in those that they mention, since who uses the package may rely on it.
 */
async function keptNames(): Promise<Set<string>> {
  const dir = await mkdtemp(`${tmpdir()}/meridian-`);
  try {
    execFileSync(process.execPath, [
      `${root}/node_modules/typescript/bin/tsc`, "-p", `${root}/tsconfig.dist.json`, "--emitDeclarationOnly", "--outDir", dir,
    ]);
    const read = async (file: string) => (await readFile(file, "utf8")).replace(/\/\*[^]*?\*\//g, "");
    const platform = `${root}/node_modules/@typescript/typescript-${process.platform}-${process.arch}/lib`;
    const lib = (await readdir(platform)).filter((f) => /^lib\.(dom|es).*\.d\.ts$/.test(f));
    const declared = new Map<string, string>(); // what is not kept so far
    for (const f of (await readdir(dir)).filter((f) => f.endsWith(".d.ts"))) {
      for (const text of (await read(`${dir}/${f}`)).split(/^(?=export |declare |interface |type )/m)) {
        const [, name] = /^(?:(?:export|declare|abstract) )*(?:class|function|interface|type|const) (\w+)/.exec(text) ?? [];
        if (name) declared.set(name, (declared.get(name) ?? "") + text);
      }
    }
    const names = new Set<string>();
    for (const f of lib) for (const [name] of (await read(`${platform}/${f}`)).matchAll(/[\w$]+/g)) names.add(name);
    const texts = [await read(`${dir}/index.d.ts`)];
    for (let text; (text = texts.pop()); ) {
      for (const [name] of text.matchAll(/[\w$]+/g)) {
        names.add(name);
        if (declared.has(name)) texts.push(declared.get(name)!);
        declared.delete(name);
      }
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
    format: { preamble: `/*! Meridian ${version}, ${license} */` },
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
