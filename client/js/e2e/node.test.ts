// The SDK in Node: with its own WebSocket, and in one without, with that of the package ws.
import { execFileSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { build } from "esbuild";
import { inNode } from "./actor.ts";
import type { House } from "./cast.ts";
import { perform, smoke } from "./scenarios.ts";
import { buildPrograms } from "./stage.ts";
import type { Programs } from "./stage.ts";
import { Site } from "./site.ts";

/** A Node without a WebSocket of its own; undefined: there is none here. */
function oldNode(): string | undefined {
  try {
    return execFileSync("node", ["-p", "globalThis.WebSocket ? '' : process.execPath"], { encoding: "utf8" }).trim() || undefined;
  } catch {
    return undefined;
  }
}

const old = oldNode();

describe("Node", { concurrency: 2 }, () => {
  let house: House;
  let programs: Programs | undefined;
  let site: Site | undefined;
  let program: string;
  before(async () => {
    programs = await buildPrograms();
    site = await Site.open();
    program = programs.stage + "-client.mjs";
    await build({
      entryPoints: [`${import.meta.dirname}/page/node.ts`], outfile: program, bundle: true, platform: "node", format: "esm", target: "node20",
      banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' }, // of ws
    });
    house = { programs, site, actor: () => inNode(process.execPath, program) };
  });
  after(async () => {
    await site?.close();
    await programs?.remove();
  });
  for (const [name, scenario] of Object.entries(smoke)) {
    const plain: typeof scenario = { ...scenario, options: () => ({ plain: true }) };
    test(`${process.version}: ${name}`, { timeout: 120_000 }, () => perform(plain, house, "websocket"));
    test(`with the package ws: ${name}`, { timeout: 120_000, skip: old ? false : "left out: no Node 20 here" }, () =>
      perform(plain, { ...house, actor: () => inNode(old!, program) }, "websocket"));
  }
});
