// The SDK in Chromium, against real edges.
import { after, before, describe, test } from "node:test";
import { absent } from "./browser.ts";
import { openHouses } from "./house.ts";
import type { Houses } from "./house.ts";
import { anywhere, chromiumOnly, crowded, perform, smoke } from "./scenarios.ts";

describe("Chromium", { skip: absent("chromium") ?? false, concurrency: 2 }, () => {
  let houses: Houses | undefined;
  before(async () => {
    houses = await openHouses("chromium");
  });
  after(() => houses?.close());
  for (const carrier of ["webtransport", "websocket"] as const) {
    for (const [name, scenario] of Object.entries({ ...anywhere, ...crowded, ...chromiumOnly })) {
      test(`${carrier}: ${name}`, { timeout: 120_000 }, () => perform(scenario, houses!.pages, carrier));
    }
    for (const [name, scenario] of Object.entries(smoke)) {
      test(`${carrier}, in a worker: ${name}`, { timeout: 120_000 }, () => perform(scenario, houses!.workers, carrier));
    }
  }
});
