// Whether a page that reads for an hour grows.
import type { CDPSession, Page } from "puppeteer-core";
import type { Carrier } from "../../src/session.ts";

import type { Tokens } from "../../e2e/site.ts";
import type { Figure } from "./figure.ts";
import { median } from "./figure.ts";
import type { Bench, Reading } from "./page.ts";
import { carriers, names, publish, where } from "./rig.ts";
import type { Rig } from "./rig.ts";

declare const bench: Bench;

const channels = 10;
const size = 1024;
const rate = 1000; // over all channels
/** So many samples stand for the beginning, after some that are left out, and so many for the end. */
const together = 5;
const leftOut = 5;
/** Of a token, in ms: an hour has many refreshes. */
const tokenLife = 300_000;
/** Between a page's own publishes, in ms. */
const ownEvery = 100;

interface Sample {
  /** Bytes after a collection. */
  readonly heap: number;
  readonly objects: number;
  readonly messages: number;
}

/**
 * A page for each carrier, which reads, publishes a little, and renews its token; a sample each
 * minute, after a forced collection.
 */
export async function* heap(rig: Rig): AsyncGenerator<Figure> {
  const stage = await rig.stand({ bytes: 1 << 20 });
  const samples = new Map<Carrier, Sample[]>(carriers.map((c) => [c, []]));
  const { minutes } = rig.options;
  try {
    const pages = new Map<Carrier, Page>();
    const given = new Map<Carrier, Tokens>();
    for (const carrier of carriers) {
      const page = await rig.page();
      const [tokenURL, tokens] = rig.site.tokens(stage);
      tokens.ttl = tokenLife;
      const { url, options: { token: _, ...options } } = await where(stage, carrier);
      const r: Reading = { url, options, tokenURL, channels: names("bench:heap", channels), unread: [], from: "live" };
      await page.evaluate((r: Reading) => bench.open(r), r);
      await page.evaluate((every: number) => bench.murmur("bench:own", every), ownEvery);
      given.set(carrier, tokens);
      pages.set(carrier, page);
    }
    const began = Date.now();
    const load = publish(stage, "bench:heap", rate * 60 * minutes, { rate, size, channels });
    load.catch(() => {}); // it is awaited below
    for (let minute = 1; minute <= minutes; minute++) {
      await new Promise((resolve) => setTimeout(resolve, began + minute * 60_000 - Date.now()));
      for (const [carrier, page] of pages) {
        const s = await sample(page);
        samples.get(carrier)!.push(s);
        console.log(`        ${minute} min, ${carrier}: heap ${s.heap.toLocaleString("en")} B, ${s.objects.toLocaleString("en")} objects, ${s.messages.toLocaleString("en")} messages taken`);
      }
    }
    await load;
    for (const [carrier, page] of pages) {
      const troubles = await page.evaluate(() => bench.troubles());
      const list = samples.get(carrier)!;
      const skip = minutes >= 2 * together + leftOut ? leftOut : 0;
      const grown = (f: (s: Sample) => number) => 100 * (median(list.slice(-together).map(f)) / median(list.slice(skip, skip + together).map(f)) - 1);
      const what = `after ${minutes} minutes at ${rate}/s, ${carrier}, against minutes ${skip + 1} to ${skip + together}`;
      yield { name: `heap ${what}`, unit: "% more", runs: [grown((s) => s.heap)], target: { most: 5 } };
      yield { name: `objects ${what}`, unit: "% more", runs: [grown((s) => s.objects)], target: { most: 5 } };
      yield { name: `messages taken, ${carrier}, of those published`, unit: "", runs: [await taken(page, rate * 60 * minutes) / (rate * 60 * minutes)], target: { least: 1 } };
      yield { name: `sessions lost, ${carrier}`, unit: "", runs: [troubles.length], target: { most: 0 } };
      console.log(`        ${given.get(carrier)!.asked} tokens fetched`);
      for (const t of troubles) console.log(`        state ${t}`);
    }
  } finally {
    await stage.end();
  }
}

/** Waits a little for the last of them. */
async function taken(page: Page, due: number): Promise<number> {
  let n = 0;
  for (let i = 0; i < 50 && n < due; i++) {
    n = await page.evaluate(() => bench.count());
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return n;
}

const sessions = new WeakMap<Page, CDPSession>();

async function sample(page: Page): Promise<Sample> {
  const session = sessions.get(page) ?? (await page.createCDPSession());
  sessions.set(page, session);
  const { result } = await session.send("Runtime.evaluate", { expression: "Object.prototype", objectGroup: "sample" });
  const { objects } = await session.send("Runtime.queryObjects", { prototypeObjectId: result.objectId!, objectGroup: "sample" });
  const { result: count } = await session.send("Runtime.callFunctionOn", {
    objectId: objects.objectId!, functionDeclaration: "function () { return this.length; }", returnByValue: true,
  });
  await session.send("Runtime.releaseObjectGroup", { objectGroup: "sample" });
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  const messages = await page.evaluate(() => bench.count());
  return { heap: usedSize, objects: count.value as number, messages };
}
