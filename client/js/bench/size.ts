// Prints what each source file weighs, minified and gzipped by itself: where the bundle's bytes are.
import { readFile, readdir } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { transform } from "esbuild";
import { minify } from "terser";
import { bundle } from "../build.ts";

const src = `${import.meta.dirname}/../src`;
const gzipped = (text: string): number => gzipSync(text, { level: 9 }).length;
const rows: [number, string][] = [];
for (const file of await readdir(src)) {
  const { code } = await transform(await readFile(`${src}/${file}`, "utf8"), { loader: "ts", minify: true });
  rows.push([gzipped((await minify(code, { module: true, ecma: 2020 })).code!), file]);
}
for (const [bytes, file] of rows.sort((a, b) => b[0] - a[0])) console.log(String(bytes).padStart(6), file);
console.log(String(rows.reduce((sum, [bytes]) => sum + bytes, 0)).padStart(6), "sum");
console.log(String(gzipped(await bundle())).padStart(6), "bundle");
