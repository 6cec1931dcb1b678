// The SDK in Chromium, against real edges.
import { after, before, describe, test } from "node:test";
import { absent, start } from "./browser.ts";
import type { House } from "./cast.ts";
import { anywhere, chromiumOnly, crowded, perform } from "./scenarios.ts";
import { buildPrograms } from "./stage.ts";
import { Site } from "./site.ts";

describe("Chromium", { skip: absent("chromium") ?? false, concurrency: 2 }, () => {
  const house = {} as { -readonly [K in keyof House]: House[K] };
  before(async () => {
    [house.programs, house.site, house.browser] = await Promise.all([buildPrograms(), Site.open(), start("chromium")]);
  });
  after(async () => {
    await house.browser?.close();
    await house.site?.close();
    await house.programs?.remove();
  });
  for (const carrier of ["webtransport", "websocket"] as const) {
    for (const [name, scenario] of Object.entries({ ...anywhere, ...crowded, ...chromiumOnly })) {
      test(`${carrier}: ${name}`, { timeout: 120_000 }, () => perform(scenario, house, carrier));
    }
  }
});
