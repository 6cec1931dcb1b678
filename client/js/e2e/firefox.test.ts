// The SDK in Firefox, against real edges: what can be done to a page without DevTools.
import { after, before, describe, test } from "node:test";
import { absent } from "./browser.ts";
import { openHouses } from "./house.ts";
import type { Houses } from "./house.ts";
import { anywhere, crowded, perform } from "./scenarios.ts";

describe("Firefox", { skip: absent("firefox") ?? false, concurrency: 2 }, () => {
  let houses: Houses | undefined;
  before(async () => {
    houses = await openHouses("firefox");
  });
  after(() => houses?.close());
  for (const carrier of ["webtransport", "websocket"] as const) {
    for (const [name, scenario] of Object.entries({ ...anywhere, ...crowded })) {
      test(`${carrier}: ${name}`, { timeout: 120_000 }, () => perform(scenario, houses!.pages, carrier));
    }
  }
});
