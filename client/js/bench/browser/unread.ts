// What subscriptions that nobody takes from do to the others.
import type { Carrier } from "../../src/session.ts";
import type { Stage } from "../../e2e/stage.ts";
import type { Figure } from "./figure.ts";
import { round } from "./figure.ts";
import type { Bench, Read, Reading } from "./page.ts";
import type { Shares } from "./processor.ts";
import { quiet, watchProcessor } from "./processor.ts";
import { carriers, names, publish, where } from "./rig.ts";
import type { Rig } from "./rig.ts";

declare const bench: Bench;

const channels = 200;
const unread = 20;
const size = 1024;
const rate = 2000; // over all channels
const settle = 2; // seconds before it is measured
const forSeconds = 20;
/** On each channel before: more than a window, so that those which nobody takes from are full at once. */
const before = 100;

/**
 * Latency of 180 channels while nobody takes from the 20 others, against the same 180 while
 * everybody does; pairs interleaved, and which begins changes each time.
 */
export async function* stalled(rig: Rig): AsyncGenerator<Figure> {
  const stage = await rig.stand();
  try {
    for (const carrier of carriers) {
      const ratios: number[] = [];
      const shares: Shares[] = [];
      let measured = 0;
      for (let i = 0; i < (rig.options.runs ?? 5); i++) {
        const pair: Read[] = [];
        for (const stalls of i % 2 ? [true, false] : [false, true]) {
          const [read, said] = await once(rig, stage, carrier, stalls, `bench:${carrier}-${i}-${stalls}-`);
          pair[+stalls] = read;
          shares.push(said);
        }
        const [all, some] = pair as [Read, Read];
        for (const [what, { latencies: l }] of [["all consumed", all], ["20 not", some]] as const) {
          console.log(`        ${carrier} pair ${i + 1}, ${what}: p50 ${round(l.p50)} ms, p99 ${round(l.p99)} ms, most ${round(l.most)} ms, ${l.count} messages`);
        }
        measured += some.latencies.count;
        ratios.push(some.latencies.p99 / all.latencies.p99);
      }
      yield {
        name: `${unread} of ${channels} not consumed, p99 of the others against all consumed, ${carrier}, ${measured.toLocaleString("en")} messages a side`,
        unit: "×", runs: ratios, shares, target: { most: 1.2 },
      };
    }
  } finally {
    await stage.end();
  }
}

async function once(rig: Rig, stage: Stage, carrier: Carrier, stalls: boolean, prefix: string): Promise<[Read, Shares]> {
  await quiet(rig.options.patience);
  const page = await rig.page();
  try {
    await publish(stage, prefix, before * channels, { size, channels });
    const all = names(prefix, channels);
    const others = all.slice(unread);
    // The 20 are taken from by a loop of no interest, or by none.
    const r: Reading = {
      ...(await where(stage, carrier)), from: "start",
      channels: others, ...(stalls ? { unread: all.slice(0, unread) } : { unread: [], beside: all.slice(0, unread) }),
    };
    await page.evaluate((r: Reading) => bench.open(r), r);
    await publish(stage, prefix, rate * settle, { size, rate, channels });
    const said = watchProcessor();
    await page.evaluate((n: number) => bench.measure(n), rate * (forSeconds + 1));
    await publish(stage, prefix, rate * forSeconds, { size, rate, channels });
    const due = (before + (rate * (settle + forSeconds)) / channels) * others.length;
    const read = await page.evaluate((n: number) => bench.until(n), due);
    const shares = said();
    await page.evaluate(() => bench.close());
    return [read, shares];
  } finally {
    await page.browserContext().close().catch(() => {}); // the browser may be gone
  }
}
