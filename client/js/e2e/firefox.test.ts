// The SDK in Firefox, against real edges: what can be done to a page without DevTools.
import { after, before, describe, test } from "node:test";
import type { Browser } from "puppeteer-core";
import { onPage } from "./actor.ts";
import { absent, start } from "./browser.ts";
import type { House } from "./cast.ts";
import { anywhere, crowded, perform } from "./scenarios.ts";
import { buildPrograms } from "./stage.ts";
import { Site } from "./site.ts";

describe("Firefox", { skip: absent("firefox") ?? false, concurrency: 2 }, () => {
  let house: House;
  let browser: Browser | undefined;
  before(async () => {
    const [programs, site, started] = await Promise.all([buildPrograms(), Site.open(), start("firefox")]);
    browser = started;
    house = { programs, site, actor: (before) => onPage(started, site, before) };
  });
  after(async () => {
    await browser?.close();
    await house?.site.close();
    await house?.programs.remove();
  });
  for (const carrier of ["webtransport", "websocket"] as const) {
    for (const [name, scenario] of Object.entries({ ...anywhere, ...crowded })) {
      test(`${carrier}: ${name}`, { timeout: 120_000 }, () => perform(scenario, house, carrier));
    }
  }
});
