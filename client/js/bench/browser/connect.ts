// From connect() to a subscription that stands, in a page that is loaded and has its token.
import type { Page } from "puppeteer-core";
import type { Figure } from "./figure.ts";
import { quantile } from "./figure.ts";
import type { Bench, Where } from "./page.ts";
import type { Shares } from "./processor.ts";
import { quiet, watchProcessor } from "./processor.ts";
import { carriers, where } from "./rig.ts";
import type { Rig } from "./rig.ts";

declare const bench: Bench;

const warmUp = 30;
const samples = 300;

export async function* connect(rig: Rig): AsyncGenerator<Figure> {
  const stage = await rig.stand();
  const page = await rig.page();
  try {
    for (const carrier of carriers) {
      const w = await where(stage, carrier);
      await times(page, w, warmUp);
      const p50: number[] = [];
      const p90: number[] = [];
      const shares: Shares[] = [];
      for (let i = 0; i < (rig.options.runs ?? 3); i++) {
        await quiet(rig.options.patience);
        const said = watchProcessor();
        const list = await times(page, w, samples);
        shares.push(said());
        p50.push(quantile(list, 0.5));
        p90.push(quantile(list, 0.9));
      }
      const what = `connect to subscribed, ${carrier}, ${samples} sessions after ${warmUp}`;
      yield { name: `${what}, p50`, unit: "ms", runs: p50, shares, target: { most: 20 } };
      yield { name: `${what}, p90`, unit: "ms", runs: p90, target: { most: 40 } };
    }
  } finally {
    await page.browserContext().close().catch(() => {}); // the browser may be gone
    await stage.end();
  }
}

function times(page: Page, w: Where, n: number): Promise<number[]> {
  return page.evaluate((w: Where, n: number) => bench.connects(w, n), w, n);
}
