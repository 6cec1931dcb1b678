// What publish makes of input that no caller should give, and of a relay that misbehaves.
import assert from "node:assert/strict";
import test from "node:test";
import type { TestContext } from "node:test";
import { Code, codeName, retryOf } from "../src/codes.ts";
import { BadRequestError, ClosedError, connect, MeridianError, TooLargeError, UnknownOutcomeError } from "../src/index.ts";
import type { Outgoing, Relay } from "../src/index.ts";
import { Message } from "../src/message.ts";
import { encodeDown } from "./codec/relay.ts";
import { fakeWebSocket, oblige } from "./fake-session.ts";
import type { Behaviour, FakeRelay } from "./fake-session.ts";
import { settle, virtualTime } from "./time.ts";

const unhandled: unknown[] = [];
process.on("unhandledRejection", (e) => unhandled.push(e));

/** A client of a relay in memory, in virtual time; behave: of each session, from the first on. */
function client(t: TestContext, ...behave: Behaviour[]): { relay: Relay; sessions: FakeRelay[]; advance(ms: number): Promise<void> } {
  // Before the time stands still again: hooks run in the order in which they were set.
  t.after(async () => {
    const closing = relay.close({ timeout: 0 });
    await time.advance(10);
    await closing;
    await settle();
    assert.deepEqual(unhandled, [], "rejections that nobody handled");
  });
  const time = virtualTime(t);
  const sessions: FakeRelay[] = [];
  const WebSocket = fakeWebSocket((far) => {
    far.behave = behave[Math.min(sessions.length, behave.length - 1)] ?? oblige;
    sessions.push(far);
  });
  const relay = connect("http://relay.test", { token: "x.eyJzdWIiOiJhbGljZSJ9.x", WebSocket, carriers: ["websocket"] });
  return { relay, sessions, advance: (ms) => time.advance(ms) };
}

/** What becomes of a publish. */
function outcome<T>(p: Promise<T>): { value?: T; error?: unknown; settled: boolean } {
  const r: { value?: T; error?: unknown; settled: boolean } = { settled: false };
  p.then(
    (value) => Object.assign(r, { value, settled: true }),
    (error: unknown) => Object.assign(r, { error, settled: true }),
  );
  return r;
}

/** What arrived at the relay as the last message. */
function arrived(far: FakeRelay): Message {
  const { publication: p } = far.of("publish").at(-1)!;
  return new Message(p.channel, { epoch: 1, seq: 1 }, p.body);
}

test("before the client is connected, publishes wait and keep their order", async (t) => {
  const { relay, sessions, advance } = client(t);
  const got = [1, 2, 3].map((n) => outcome(relay.channel("chat:a").publish({ json: n })));
  assert.equal(sessions.length, 0);
  await advance(100);
  assert.deepEqual(
    got.map((g) => g.value?.position.seq),
    [1, 2, 3],
  );
});

test("a relay that never says Welcome: the publish waits, and ends with the client", async (t) => {
  const { relay, advance } = client(t, () => {});
  const got = outcome(relay.channel("chat:a").publish({ text: "hi" }));
  await advance(60_000);
  assert.ok(!got.settled);
  void relay.close({ timeout: 0 });
  await advance(10);
  assert.ok(got.error instanceof ClosedError, String(got.error));
});

test("after close", async (t) => {
  const { relay, sessions, advance } = client(t);
  const chat = relay.channel("chat:a");
  await advance(100);
  const closing = relay.close();
  const during = outcome(chat.publish({ text: "hi" }));
  await advance(10);
  await closing;
  const after = outcome(chat.publish({ text: "hi" }));
  await settle();
  for (const got of [during, after]) {
    assert.ok(got.error instanceof ClosedError, String(got.error));
    assert.match(got.error.message, /close|connect/);
  }
  assert.equal(sessions[0]!.of("publish").length, 0);
});

const cyclic: { self?: unknown } = {};
cyclic.self = cyclic;
for (const [name, message] of Object.entries<unknown>({
  "a cyclic object": { json: cyclic },
  "json of undefined": { json: undefined },
  "json of a function": { json: () => {} },
  "a BigInt": { json: 1n },
  "json whose toJSON throws": {
    json: {
      toJSON() {
        throw new Error("cannot be written");
      },
    },
  },
  "no payload": {},
  "two payloads": { text: "a", json: 1 },
  nothing: undefined,
  null: null,
  text: "hi",
  "text that is a number": { text: 1 },
  "a lone surrogate": { text: "a\ud800" },
  "bytes that are a list": { bytes: [1, 2] },
  "a detached buffer's view": { bytes: "no" },
  "a key that is no text": { text: "", key: 7 },
  "a lone surrogate in a header": { text: "", headers: { a: "\udfff" } },
  "a header that is no text": { text: "", headers: { a: 1 } },
  "headers that are a Map": { text: "", headers: new Map([["a", "b"]]) },
  "an empty id": { text: "", id: "" },
})) {
  test(`refused before it is sent: ${name}`, async (t) => {
    const { relay, sessions, advance } = client(t);
    await advance(100);
    const got = outcome(relay.channel("chat:a").publish(message as Outgoing));
    await advance(100);
    assert.ok(got.error instanceof BadRequestError, String(got.error));
    assert.ok(got.error.message.length > 10, got.error.message);
    assert.equal(sessions[0]!.of("publish").length, 0);
  });
}

test("payloads of 0 bytes, of the limit, and of one more", async (t) => {
  const limits = { payload: 1000, unanswered: 0, subscriptions: 0, streams: 0 };
  const { relay, sessions, advance } = client(t, (f, far) => (f.type === "hello" ? far.send(encodeDown.welcome({ limits })) : oblige(f, far)));
  const chat = relay.channel("chat:a");
  await advance(100);
  for (const size of [0, 1, 1000]) {
    const got = outcome(chat.publish({ bytes: new Uint8Array(size) }));
    await advance(10);
    assert.ok(got.value, String(got.error));
    assert.equal(arrived(sessions[0]!).bytes.length, size);
  }
  const sent = sessions[0]!.of("publish").length;
  for (const m of [{ bytes: new Uint8Array(1001) }, { text: "é".repeat(501) }, { json: "x".repeat(999) }, { text: "", key: "k".repeat(257) }]) {
    const got = outcome(chat.publish(m));
    await advance(10);
    assert.ok(got.error instanceof TooLargeError, String(got.error));
    assert.match(got.error.message, /\d+.*at most (1000|256)/);
  }
  assert.equal(sessions[0]!.of("publish").length, sent);
});

test("any byte and any Unicode arrive as they are", async (t) => {
  const { relay, sessions, advance } = client(t);
  const chat = relay.channel("chat:\u{1F600} é\u202e");
  await advance(100);
  const every = Uint8Array.from({ length: 256 }, (_, i) => i);
  outcome(chat.publish({ bytes: every.subarray(3) }));
  every.fill(0); // the caller's own again
  await advance(10);
  assert.deepEqual([...arrived(sessions[0]!).bytes], Array.from({ length: 253 }, (_, i) => i + 3));
  for (let from = 0; from < 0x110000; from += 0x4000) {
    let text = "";
    for (let c = from; c < from + 0x4000; c++) if (c < 0xd800 || c > 0xdfff) text += String.fromCodePoint(c);
    outcome(chat.publish({ text, key: text.slice(0, 20), headers: { __proto__x: text.slice(0, 8) } }));
    await advance(10);
    const m = arrived(sessions[0]!);
    assert.ok(m.text() === text, `from ${from.toString(16)}`);
    assert.equal(m.key ?? "", text.slice(0, 20));
    assert.equal(m.headers["__proto__x"], text.slice(0, 8));
  }
});

const codes = [...Object.values(Code), 998];

for (const code of codes) {
  test(`a publish refused once with ${codeName(code)}`, async (t) => {
    let refused = false;
    const { relay, advance } = client(t, (f, far) => {
      if (f.type !== "publish" || refused) return oblige(f, far);
      refused = true;
      far.send(encodeDown.end(f.ref, { code, detail: "by the test" }));
    });
    const got = outcome(relay.channel("chat:a").publish({ text: "hi" }));
    await advance(30_000);
    assert.ok(got.settled);
    // An End without a code is no answer, and ends the session; too_old goes on under a new producer.
    if (retryOf(code) !== "final" || code === Code.done || code === Code.too_old) return assert.ok(got.value, String(got.error));
    assert.ok(got.error instanceof MeridianError, `${JSON.stringify(got.value)} ${got.error}`);
    assert.equal(got.error.code, code);
    assert.match(got.error.message, /chat:a/);
    assert.match(got.error.message, /by the test/);
  });

  test(`a session that ends with ${codeName(code)} under a publish`, async (t) => {
    let ended = false;
    const { relay, advance } = client(t, (f, far) => {
      if (f.type !== "publish" || ended) return oblige(f, far);
      ended = true;
      far.send(encodeDown.end(0, { code, detail: "by the test" }));
      far.end(code, "by the test");
    });
    const got = outcome(relay.channel("chat:a").publish({ text: "hi" }));
    await advance(120_000);
    assert.ok(got.settled);
    // It was sent once, so it stands or its outcome is unknown: nothing else would be true.
    if (got.error) assert.ok(got.error instanceof UnknownOutcomeError, String(got.error));
    if (retryOf(code) !== "final") assert.ok(got.value, String(got.error));
  });
}

test("a position beyond what a number holds ends the session, not the publish", async (t) => {
  let once = false;
  const { relay, sessions, advance } = client(t, (f, far) => {
    if (f.type !== "publish" || once) return oblige(f, far);
    once = true;
    far.send(encodeDown.ok(f.ref, { epoch: 1, seq: 2 ** 53 }));
  });
  const got = outcome(relay.channel("chat:a").publish({ text: "hi" }));
  await advance(30_000);
  assert.equal(sessions[0]!.closed?.code, Code.protocol);
  assert.ok(got.value, String(got.error));
});

test("a publish that is never answered is sent again, under its number", async (t) => {
  let n = 0;
  const { relay, sessions, advance } = client(t, (f, far) => {
    if (f.type !== "publish" || n++) oblige(f, far);
  });
  const got = outcome(relay.channel("chat:a").publish({ text: "hi" }));
  await advance(60_000);
  assert.ok(got.value, String(got.error));
  const sent = sessions.flatMap((s) => s.of("publish")).map((f) => f.publication);
  assert.deepEqual(
    sent.map((p) => [p.n, Buffer.from(p.producer).toString("hex")]),
    sent.map(() => [1, Buffer.from(sent[0]!.producer).toString("hex")]),
  );
});
