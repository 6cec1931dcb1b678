import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { isHidden, isOffline, watchPage } from "../src/page.ts";

/** Puts values on globalThis for one test. */
function globals(t: TestContext, values: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(values)) {
    const was = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => {
      if (was) Object.defineProperty(globalThis, name, was);
      else delete (globalThis as Record<string, unknown>)[name];
    });
  }
}

/** A page whose listeners are counted. */
function page(t: TestContext) {
  const window = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  globals(t, { document, addEventListener: window.addEventListener.bind(window) });
  return { window, document };
}

test("what happens to a page", (t) => {
  const { window, document } = page(t);
  const log: string[] = [];
  const stop = watchPage((e) => log.push(e));
  const fire = (target: EventTarget, type: string) => target.dispatchEvent(new Event(type));
  document.visibilityState = "hidden";
  fire(document, "visibilitychange");
  assert.ok(isHidden());
  fire(document, "freeze");
  fire(document, "resume");
  document.visibilityState = "visible";
  fire(document, "visibilitychange");
  assert.ok(!isHidden());
  for (const type of ["offline", "online", "pagehide", "pageshow", "beforeunload", "unload"]) fire(window, type);
  const all = ["visibilitychange", "resume", "visibilitychange", "offline", "online", "pagehide", "pageshow"];
  assert.deepEqual(log, all);
  stop();
  for (const type of ["visibilitychange", "resume"]) fire(document, type);
  for (const type of ["offline", "online", "pagehide", "pageshow"]) fire(window, type);
  assert.deepEqual(log, all, "listeners are left behind");
});

test("a worker has only the network's events", (t) => {
  const worker = new EventTarget();
  globals(t, { addEventListener: worker.addEventListener.bind(worker) });
  const log: string[] = [];
  watchPage((e) => log.push(e));
  worker.dispatchEvent(new Event("online"));
  assert.deepEqual([log, isHidden()], [["online"], false]);
});

test("Node has none", () => {
  watchPage(() => assert.fail())();
  assert.deepEqual([isHidden(), isOffline()], [false, false]);
});

test("offline only if the browser says so", (t) => {
  globals(t, { navigator: { onLine: false } });
  assert.ok(isOffline());
  globals(t, { navigator: {} });
  assert.ok(!isOffline());
});
