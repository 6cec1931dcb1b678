import assert from "node:assert/strict";
import { test } from "node:test";
import { headStart, race, Winner } from "../src/race.ts";
import type { Carrier } from "../src/session.ts";
import { settle, virtualTime } from "./time.ts";

let unhandled = 0;
process.on("unhandledRejection", () => (unhandled++, (process.exitCode = 1)));

const both: Carrier[] = ["webtransport", "websocket"];

/** A race whose dials end when the test says so. */
function racing(carriers: Carrier[], head: number) {
  const log: string[] = [];
  const dials = new Map<Carrier, { resolve(s: string): void; reject(e: unknown): void; signal: AbortSignal }>();
  const abort = new AbortController();
  const result = race(
    carriers,
    head,
    abort.signal,
    (carrier, signal) =>
      new Promise<string>((resolve, reject) => {
        log.push("dial " + carrier);
        signal.addEventListener("abort", () => log.push("give up " + carrier));
        dials.set(carrier, { resolve, reject, signal });
      }),
    (s) => log.push("discard " + s),
  );
  result.catch(() => {});
  return { log, dials, abort, result };
}

test("four round trips, at least half a second", () => {
  assert.deepEqual([headStart(0), headStart(100), headStart(400)], [500, 500, 1600]);
});

test("the first goes alone for the head start, then both", async (t) => {
  const time = virtualTime(t);
  const r = racing(both, 500);
  await time.advance(490);
  assert.deepEqual(r.log, ["dial webtransport"]);
  await time.advance(20);
  assert.deepEqual(r.log, ["dial webtransport", "dial websocket"]);
  r.dials.get("websocket")!.resolve("ws");
  assert.equal(await r.result, "ws");
  assert.deepEqual(r.log.slice(2), ["give up webtransport", "give up websocket"]);
  r.dials.get("webtransport")!.resolve("wt");
  await settle();
  assert.deepEqual(r.log.slice(4), ["discard wt"], "a loser that becomes ready is closed");
});

test("in a hurry all go at once", async (t) => {
  virtualTime(t);
  const r = racing(both, 0);
  await settle();
  assert.deepEqual(r.log, ["dial webtransport", "dial websocket"]);
  r.dials.get("webtransport")!.resolve("wt");
  assert.equal(await r.result, "wt");
  r.dials.get("websocket")!.reject(new Error("late"));
  await settle();
});

test("a failure starts the next one at once; all failures are told", async (t) => {
  const time = virtualTime(t);
  const r = racing(both, 500);
  await time.advance(10);
  r.dials.get("webtransport")!.reject(new Error("UDP is blocked"));
  await settle();
  assert.deepEqual(r.log, ["dial webtransport", "dial websocket"]);
  await time.advance(1000);
  r.dials.get("websocket")!.reject("refused");
  await assert.rejects(r.result, (e) => e instanceof AggregateError && e.errors.map((e) => e.message).join("; ") === "webtransport: UDP is blocked; websocket: refused");
});

test("a dial that throws has failed", async () => {
  const result = race(both, 500, new AbortController().signal, (k) => {
    if (k === "webtransport") throw new Error("not here");
    return Promise.resolve(k);
  }, () => assert.fail());
  assert.equal(await result, "websocket");
});

test("the signal gives up, before and during", async (t) => {
  virtualTime(t);
  const r = racing(both, 0);
  await settle();
  r.abort.abort(new Error("enough"));
  await assert.rejects(r.result, /enough/);
  assert.deepEqual(r.log.slice(2), ["give up webtransport", "give up websocket"]);
  r.dials.get("websocket")!.resolve("ws");
  r.dials.get("webtransport")!.reject(new Error("given up"));
  await settle();
  assert.deepEqual(r.log.slice(4), ["discard ws"]);
  const none = race(both, 0, AbortSignal.abort(new Error("before")), () => assert.fail(), () => {});
  await assert.rejects(none, /before/);
});

test("nothing is started after the end, and no timer is left", async (t) => {
  const time = virtualTime(t);
  const r = racing(both, 500);
  await settle();
  r.dials.get("webtransport")!.resolve("wt");
  await r.result;
  await time.advance(1000);
  assert.deepEqual(r.log, ["dial webtransport", "give up webtransport"]);
});

test("the winner goes first for ten minutes, or until the network changes", async (t) => {
  const time = virtualTime(t);
  const w = new Winner();
  assert.deepEqual(w.order(both), both);
  w.won("websocket");
  assert.deepEqual(w.order(both), ["websocket", "webtransport"]);
  assert.deepEqual(w.order(["webtransport"]), ["webtransport"], "what is excluded stays so");
  await time.advance(300_000);
  w.won("websocket");
  await time.advance(299_000);
  assert.deepEqual(w.order(both), ["websocket", "webtransport"]);
  await time.advance(2_000);
  assert.deepEqual(w.order(both), both, "winning by going first does not count");
  w.won("websocket");
  w.forget();
  assert.deepEqual(w.order(both), both);
  w.won("websocket");
  time.setWall(600_001);
  assert.deepEqual(w.order(both), both, "the machine slept");
});

test("nothing was left unhandled", async () => {
  await new Promise((r) => setTimeout(r, 0));
  assert.equal(unhandled, 0);
});
