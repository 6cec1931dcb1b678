// How many small messages a second a page publishes and gets acknowledged.
import type { Carrier } from "../../src/session.ts";
import type { Stage } from "../../e2e/stage.ts";
import type { Figure } from "./figure.ts";
import type { Bench, Where } from "./page.ts";
import type { Shares } from "./processor.ts";
import { quiet, watchProcessor } from "./processor.ts";
import { carriers, where } from "./rig.ts";
import type { Rig } from "./rig.ts";

declare const bench: Bench;

const size = 100;
const count = 100_000;
/** Unanswered at a time. */
const open = 1000;

/** Without the edge's limits, and with its default of 10,000 a second for a session. */
export async function* publishing(rig: Rig): AsyncGenerator<Figure> {
  for (const limited of [false, true]) {
    const stage = await rig.stand({ limited });
    try {
      for (const carrier of carriers) {
        const runs: number[] = [];
        const refusals: number[] = [];
        const troubles: string[] = [];
        const shares: Shares[] = [];
        for (let i = 0; i < (rig.options.runs ?? 5); i++) {
          const done = await once(rig, stage, carrier, `bench:${carrier}-${i}`);
          shares.push(done.shares);
          runs.push(count / (done.ms / 1000));
          refusals.push(done.refused);
          troubles.push(...done.troubles);
        }
        const name = `publish ${size} B, ${open} open, ${limited ? "default limits" : "no limits"}, ${carrier}`;
        yield { name, unit: "acknowledged/s", runs, shares, messages: count, ...(limited ? {} : { target: { least: 10_000 } }) };
        yield { name: `${name}, refused`, unit: "messages", runs: refusals, target: { most: 0 }, value: Math.max(...refusals) };
        yield { name: `${name}, sessions lost`, unit: "", runs: [troubles.length], target: { most: 0 } };
        for (const t of troubles) console.log(`        state ${t}`);
      }
    } finally {
      await stage.end();
    }
  }
}

interface Done {
  readonly ms: number;
  readonly refused: number;
  readonly troubles: string[];
}

async function once(rig: Rig, stage: Stage, carrier: Carrier, channel: string): Promise<Done & { readonly shares: Shares }> {
  const page = await rig.page();
  try {
    await quiet(rig.options.patience);
    const said = watchProcessor();
    const done: Done = await page.evaluate(
      (w: Where, ...rest: [string, number, number, number]) => bench.publish(w, ...rest),
      await where(stage, carrier), channel, count, size, open,
    );
    const shares = said();
    await page.evaluate(() => bench.close());
    return { ...done, shares };
  } finally {
    await page.browserContext().close().catch(() => {}); // the browser may be gone
  }
}
