// How many messages a second a page takes through `for await`, touching payload and position of each.
import type { CDPSession, Page } from "puppeteer-core";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Carrier } from "../../src/session.ts";
import type { Stage } from "../../e2e/stage.ts";
import { defaultLanes } from "../../src/webtransport.ts";
import type { Figure } from "./figure.ts";
import type { BareReading } from "./bare.ts";
import type { Bench, Reading } from "./page.ts";
import type { Shares } from "./processor.ts";
import { quiet, watchProcessor } from "./processor.ts";
import { carriers, names, publish, where } from "./rig.ts";
import type { Rig } from "./rig.ts";

declare const bench: Bench;

const size = 1024;
const count = 300_000;
const keep = 1 << 30;
/** Seconds of a live load. */
const liveFor = 8;

interface Shape {
  readonly channels: number;
  readonly least: number;
}
const shapes: readonly Shape[] = [{ channels: 1, least: 60_000 }, { channels: 200, least: 40_000 }];

/**
 * From what the home has stored, as fast as it goes; and its ratio to a bare reader of the same,
 * pairs interleaved, and which begins changes each time.
 */
export async function* history(rig: Rig): AsyncGenerator<Figure> {
  for (const { channels, least } of shapes) {
    const stage = await rig.stand({ bytes: keep });
    try {
      await publish(stage, "bench:old", count, { size, channels });
      for (const carrier of carriers) {
        const runs: number[] = [];
        const shares: Shares[] = [];
        const bares: number[] = [];
        // The first pair does not count: then the server's memory is warm.
        for (let i = 0; i <= (rig.options.runs ?? 5); i++) {
          for (const withSDK of i % 2 ? [true, false] : [false, true]) {
            if (!withSDK) bares[i] = await bareOnce(rig, stage, carrier, channels);
            else [runs[i], shares[i]] = await once(rig, stage, carrier, i, channels);
          }
        }
        for (const list of [runs, shares, bares]) list.shift();
        yield { name: `receive from history, ${on(channels)}, ${carrier}`, unit: "messages/s", runs, shares, messages: count, target: { least } };
        yield { name: "  a bare reader", unit: "messages/s", runs: bares };
        yield { name: "  ratio to it", unit: "×", runs: runs.map((r, k) => r / bares[k]!) };
      }
    } finally {
      await stage.end();
    }
  }
}

async function once(rig: Rig, stage: Stage, carrier: Carrier, i: number, channels: number): Promise<[perSecond: number, Shares]> {
  const page = await rig.page();
  try {
    const r: Reading = { ...(await where(stage, carrier)), channels: names("bench:old", channels), unread: [], from: "start" };
    const stop = await profile(rig, page, `history-${channels}-${carrier}-${i}`);
    await quiet(rig.options.patience);
    const said = watchProcessor();
    const read = await page.evaluate(async (r: Reading, n: number) => {
      await bench.open(r);
      return bench.until(n);
    }, r, count);
    const shares = said();
    await stop();
    await page.evaluate(() => bench.close());
    return [read.count / (read.took / 1000), shares];
  } finally {
    await page.browserContext().close().catch(() => {}); // the browser may be gone
  }
}

/** Messages a second. */
async function bareOnce(rig: Rig, stage: Stage, carrier: Carrier, channels: number): Promise<number> {
  const page = await rig.page();
  try {
    const { url, options } = await where(stage, carrier);
    await quiet(rig.options.patience);
    const ms = await page.evaluate((r: BareReading) => bench.bare(r), {
      url, token: options.token!, hashes: stage.hashes, carrier, count,
      channels: names("bench:old", channels), lanes: carrier === "websocket" ? 0 : defaultLanes(await rig.browser.userAgent()),
    });
    return count / (ms / 1000);
  } finally {
    await page.browserContext().close().catch(() => {}); // the browser may be gone
  }
}

/** As it is published, at the rate that must be reached and a tenth more: the page must keep up. */
export async function* live(rig: Rig): AsyncGenerator<Figure> {
  for (const { channels, least } of shapes) {
    for (const carrier of carriers) {
      const rate = Math.round(1.1 * least);
      const runs: number[] = [];
      const lags: number[] = [];
      const shares: Shares[] = [];
      for (let i = 0; i < (rig.options.runs ?? 3); i++) {
        const stage = await rig.stand({ bytes: keep }); // for each, or what is kept would fill it
        try {
          const page = await rig.page();
          const prefix = `bench:live-${carrier}-${i}-`;
          const r: Reading = { ...(await where(stage, carrier)), channels: names(prefix, channels), unread: [], from: "live" };
          await quiet(rig.options.patience);
          await page.evaluate((r: Reading) => bench.open(r), r);
          const stop = await profile(rig, page, `live-${channels}-${carrier}-${i}`);
          const said = watchProcessor();
          const all = page.evaluate((n: number) => {
            bench.measure(n);
            return bench.until(n);
          }, rate * liveFor);
          const [read] = await Promise.all([all, publish(stage, prefix, rate * liveFor, { size, rate, channels })]);
          shares.push(said());
          await stop();
          runs.push(read.count / (read.between / 1000));
          lags.push(read.latencies.p50);
          await page.evaluate(() => bench.close());
          await page.browserContext().close();
        } finally {
          await stage.end();
        }
      }
      const what = `receive live, ${on(channels)}, ${carrier}, ${rate.toLocaleString("en")}/s offered for ${liveFor} s`;
      yield { name: what, unit: "messages/s", runs, shares, messages: rate * liveFor, target: { least } };
      yield { name: `${what}, median latency`, unit: "ms", runs: lags };
    }
  }
}

function on(channels: number): string {
  return channels === 1 ? "one channel" : `${channels} channels`;
}

/** Takes a CPU profile of the page until the function returned is called, if profiles are wanted. */
async function profile(rig: Rig, page: Page, name: string): Promise<() => Promise<void>> {
  const dir = rig.options.profiles;
  if (!dir) return async () => {};
  const session: CDPSession = await page.createCDPSession();
  await session.send("Profiler.enable");
  await session.send("Profiler.setSamplingInterval", { interval: 500 });
  await session.send("Profiler.start");
  return async () => {
    const { profile } = await session.send("Profiler.stop");
    await writeFile(join(dir, `${name}.cpuprofile`), JSON.stringify(profile));
  };
}
