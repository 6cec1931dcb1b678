import assert from "node:assert/strict";
import test from "node:test";
import { fullJitter, retryDelay } from "../src/backoff.ts";
import { Code } from "../src/codes.ts";

function delay(code: number, failures: number, random: number, retryAfter = 0): number {
  const end = { code, retryAfter, deadline: 0, detail: "", alternatives: [], last: undefined };
  return retryDelay(end, failures, random);
}

test("full jitter: uniform up to a bound that doubles", () => {
  assert.equal(fullJitter(100, 5000, 0, 0.9), 0);
  assert.equal(fullJitter(100, 5000, 1, 0.5), 50);
  assert.equal(fullJitter(100, 5000, 3, 0.5), 200);
  assert.equal(fullJitter(100, 5000, 1_000_000, 0.5), 2500);
  assert.equal(fullJitter(100, 5000, 7, 0), 0);
});

test("the wait that the relay asks for is kept, with a quarter of jitter", () => {
  assert.equal(delay(Code.busy, 9, 0, 1000), 1000);
  assert.equal(delay(Code.unknown, 1, 0.8, 1000), 1200);
});

test("else the code's rule", () => {
  assert.equal(delay(Code.unknown, 1, 0.99), 0); // again: at once
  assert.equal(delay(Code.going_away, 2, 0.5), 25); // elsewhere
  assert.equal(delay(Code.unknown, 100, 0.5), 2500);
  assert.equal(delay(Code.unavailable, 1, 0), 500); // later
  assert.equal(delay(Code.unavailable, 1, 0.5), 1000);
  assert.equal(delay(Code.unavailable, 100, 0.5), 5500);
  assert.equal(delay(999, 1, 0.5), 1000); // unknown: as later
});
