import assert from "node:assert/strict";
import { test } from "node:test";

import { MeridianError, UnauthorizedError } from "../src/errors.ts";
import { keepToken } from "../src/tokens.ts";
import type { GetToken } from "../src/tokens.ts";
import { end, rig } from "./keeper-rig.ts";
import { virtualTime } from "./time.ts";

process.on("unhandledRejection", (err) => {
  throw err;
});

const secret = "header.secret.signature";

test("a static token is presented as it is, and refused once", async (t) => {
  const r = rig(t, (_, link) => link.finish(end(20)), { token: secret });
  await r.time.advance(60_000);
  assert.equal(r.links[0]!.attempt.token, secret);
  assert.equal(r.dials.length, 1);
  assert.ok(r.failed[0] instanceof UnauthorizedError);
});

test("a token is used for every session until it is due, then fetched anew", async (t) => {
  let n = 0;
  const r = rig(t, (_, link) => {
    link.tokenExpires = 100_000;
    link.refreshing = () => new Promise(() => {});
  }, { getToken: async () => `t${n++}` });
  await r.time.advance(1_000);
  r.links[0]!.finish(end(62));
  await r.time.advance(80_500); // a fifth of its life before the end
  r.links[1]!.finish(end(62));
  await r.time.advance(1_000);
  assert.deepEqual(r.links.map((l) => l.attempt.token), ["t0", "t0", "t1"]);
});

test("two fresh tokens in a row refused: closed; one refused: fetched anew at once", async (t) => {
  for (const code of [20, 21]) {
    await t.test(`${code}`, async (t) => {
      let n = 0;
      const r = rig(t, (i, link) => {
        if (i !== 1) link.finish(end(code));
      }, { getToken: () => `t${n++}` });
      await r.time.advance(100);
      assert.equal(r.keeper.current?.link, r.links[1]);
      // The one in use ends; that is no refusal of a fresh one.
      r.links[1]!.finish(end(21));
      await r.time.advance(60_000);
      assert.deepEqual(r.links.map((l) => l.attempt.token), ["t0", "t1", "t2", "t3"]);
      assert.equal((r.failed[0] as MeridianError).code, code);
      assert.ok(r.failed[0] instanceof UnauthorizedError);
    });
  }
});

const lies: [string, GetToken, RegExp][] = [
  ["throws", () => { throw new Error("the login server is away"); }, /getToken: the login server is away/],
  ["throws nothing", () => { throw undefined; }, /getToken: undefined/],
  ["throws text", () => { throw "no"; }, /getToken: no/],
  ["rejects", () => Promise.reject(new Error("502")), /getToken: 502/],
  ["hangs", () => new Promise(() => {}), /getToken: no answer within 10 s/],
  ["is a thenable that throws", () => ({ get then() { throw new Error("thenable"); } }) as never, /thenable/],
  ["returns undefined", () => undefined as never, /undefined; return a string/],
  ["returns null", () => null as never, /null; return a string/],
  ["returns an object", async () => ({ token: secret }) as never, /object; return a string/],
  ["returns nothing", () => "", /0 characters/],
  ["returns much", () => "x".repeat(16_385), /16385 characters/],
];
for (const [what, lie, message] of lies) {
  test(`getToken ${what}: asked again with backoff, and told`, async (t) => {
    let asked = 0;
    let lying = true;
    const r = rig(t, () => {}, {
      getToken: () => {
        asked++;
        return lying ? lie() : secret;
      },
    });
    await r.time.advance(60_000);
    const { reason } = r.states.at(-1)!;
    assert.ok(reason instanceof MeridianError);
    assert.match(reason.message, message);
    assert.ok(!reason.message.includes("secret"));
    assert.ok(asked >= 3 && asked < 25, `asked ${asked} times in a minute`);
    assert.equal(r.dials.length, 0);
    lying = false;
    await r.time.advance(40_000);
    assert.equal(r.states.at(-1)!.to, "connected");
    assert.deepEqual(r.failed, []);
  });
}

test("an UnauthorizedError of getToken closes, also one of another copy of the SDK", async (t) => {
  for (const make of [() => new UnauthorizedError("signed out"), () => Object.assign(new Error("signed out"), { name: "UnauthorizedError" })]) {
    await t.test(async (t) => {
      let asked = 0;
      const r = rig(t, () => {}, {
        getToken: async () => {
          asked++;
          throw make();
        },
      });
      await r.time.advance(60_000);
      assert.equal(asked, 1);
      assert.ok(r.failed[0] instanceof UnauthorizedError);
      assert.match(r.failed[0].message, /signed out/);
    });
  }
});

test("an UnauthorizedError of getToken at a refresh closes, once", async (t) => {
  let n = 0;
  const r = rig(t, (_, link) => void (link.tokenExpires = 100_000), {
    getToken: () => {
      if (n++) throw new UnauthorizedError("signed out");
      return secret;
    },
  });
  await r.time.advance(79_000);
  assert.deepEqual(r.failed, []);
  await r.time.advance(20_000);
  assert.equal(r.failed.length, 1);
  assert.equal(n, 2);
});

test("an answer that comes after its 10 s is not used", async (t) => {
  const answers: ((token: string) => void)[] = [];
  const r = rig(t, () => {}, { getToken: () => new Promise((resolve) => answers.push(resolve)) });
  await r.time.advance(12_000);
  answers[0]!("late");
  await r.time.advance(1_000);
  answers[1]!("second");
  await r.time.advance(100);
  assert.deepEqual(r.links.map((l) => l.attempt.token), ["second"]);
});

test("one call at a time", async (t) => {
  virtualTime(t);
  let asked = 0;
  const tokens = keepToken("", async () => `t${asked++}`);
  assert.deepEqual(await Promise.all([tokens.get(), tokens.fetch(), tokens.get()]), ["t0", "t0", "t0"]);
});

test("stopped: who waits for getToken is told, and no timer is left", async (t) => {
  virtualTime(t);
  const tokens = keepToken("", () => new Promise(() => {}));
  const waiting = assert.rejects(tokens.get(), /closed/);
  await Promise.resolve();
  tokens.stop(new Error("closed"));
  await waiting;
});
