import assert from "node:assert/strict";
import { test } from "node:test";
import { Message } from "../src/message.ts";
import { frameReader, ProtocolViolation, decodeDatagram } from "../src/frames.ts";
import { golden, unhex } from "./codec/golden.ts";
import { lister, readDown, upFields } from "./codec/json.ts";
import type { Read } from "./codec/json.ts";
import { readUp } from "./codec/relay.ts";
import { cut, mutate, random, randomDown, randomUp } from "./codec/random.ts";

const seed = Number(process.env.MERIDIAN_SEED ?? 1);
const rounds = Number(process.env.MERIDIAN_ROUNDS ?? 3000);

test("random and mutated streams end well or in a ProtocolViolation, the same in any pieces", () => {
  const r = random(seed);
  let violations = 0;
  for (let i = 0; i < rounds; i++) {
    let stream: Uint8Array;
    if (i % 3 === 0) stream = Uint8Array.from({ length: r.int(60) }, () => r.int(256));
    else stream = mutate(r, i % 3 === 1 ? randomDown(r, 1 + r.int(5)) : unhex(r.pick(golden).hex));
    const whole = readDown([stream]);
    if (whole.code !== undefined) violations++;
    assert.deepEqual(readDown(cut(r, stream)), whole, `seed ${seed}, round ${i}: in pieces`);
  }
  assert.ok(violations > rounds / 10 && violations < rounds * 0.95, `${violations} violations of ${rounds}`);
});

test("random requests read as they were written", () => {
  const r = random(seed + 3);
  for (let i = 0; i < rounds / 10; i++) {
    const { bytes, frames } = randomUp(r, 1 + r.int(5));
    assert.deepEqual(readUp(bytes).map(upFields), frames.map(({ message: _, ...f }) => f), `seed ${seed}, round ${i}`);
  }
});

test("random datagrams and messages never throw", () => {
  const r = random(seed + 1);
  for (let i = 0; i < rounds; i++) {
    const bytes = i % 2 ? mutate(r, unhex("ac02032a0a0268697207757365722d31377880d0eab6b733")) : Uint8Array.from({ length: r.int(40) }, () => r.int(256));
    const d = decodeDatagram(bytes);
    if (!d) continue;
    const m = new Message("a:b", d, d.body);
    void [m.text(), m.key, m.headers, m.contentType, m.publisher, m.time.getTime()];
    assert.ok(!Number.isNaN(m.time.getTime()));
    assert.ok(Number.isSafeInteger(d.ref) && Number.isSafeInteger(d.epoch) && Number.isSafeInteger(d.seq));
  }
});

test("after a violation nothing more is read of the stream, and nothing else is thrown", () => {
  const r = random(seed + 2);
  const frames: Read[] = [];
  const reader = frameReader(lister(frames));
  for (let i = 0; i < 200; i++) {
    try {
      reader.push(mutate(r, randomDown(r, 3)));
    } catch (e) {
      assert.ok(e instanceof ProtocolViolation);
    }
  }
});
