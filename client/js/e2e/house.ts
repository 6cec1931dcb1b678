// Opens what the tests of one file share, and closes all of it, also where a part did not open.
import { inWorker, onPage } from "./actor.ts";
import { start } from "./browser.ts";
import type { Kind } from "./browser.ts";
import type { House } from "./cast.ts";
import { buildPrograms } from "./stage.ts";
import { Site } from "./site.ts";

/** The houses of a browser: with clients on pages, and in workers. */
export interface Houses {
  readonly pages: House;
  readonly workers: House;
  close(): Promise<void>;
}

export async function openHouses(kind: Kind): Promise<Houses> {
  const parts = await Promise.allSettled([buildPrograms(), Site.open(), start(kind)]);
  const [programs, site, browser] = parts.map((p) => (p.status === "fulfilled" ? p.value : undefined)) as
    [Awaited<ReturnType<typeof buildPrograms>>?, Site?, Awaited<ReturnType<typeof start>>?];
  const close = async () => {
    await browser?.close();
    await site?.close();
    await programs?.remove();
  };
  if (!programs || !site || !browser) {
    await close();
    throw new AggregateError(parts.flatMap((p) => (p.status === "rejected" ? [p.reason] : [])), "the programs, the site or the browser");
  }
  return {
    pages: { programs, site, actor: (before) => onPage(browser, site, before) },
    workers: { programs, site, actor: () => inWorker(browser, site) },
    close,
  };
}
