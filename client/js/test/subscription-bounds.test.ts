// What a subscription keeps at most, and what it drops.
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeMessage, Message } from "../src/message.ts";
import { Queue } from "../src/queue.ts";
import { subscribe } from "../src/subscription.ts";
import type { SubscribeOptions } from "../src/subscription.ts";
import { at, FakeHost, FakeLink, follow, record } from "./reading.ts";
import { settle } from "./time.ts";

function open(options: SubscribeOptions = {}, limit = 0) {
  const link = new FakeLink();
  const host = new FakeHost(link);
  const sub = subscribe(host, "demo:x", options, limit);
  return { link, host, sub, log: record(sub) };
}

const loud: unknown[] = [];
process.on("unhandledRejection", (e) => loud.push(e));
test.after(() => assert.deepEqual(loud, []));

test("messages of no bytes are bounded too", () => {
  const { link } = open({ window: 10 });
  const s = link.sub;
  s.ok(at(1, 0));
  for (let seq = 1; seq <= 10; seq++) s.send(1, seq, new Uint8Array(0));
  assert.ok(s.open);
  s.send(1, 11, new Uint8Array(0));
  assert.ok(s.closed);
});

test("a full queue opens nothing until something is taken", async () => {
  const { link, host, sub } = open({ window: 1000 });
  const body = encodeMessage({ bytes: new Uint8Array(1500) }, 0);
  link.sub.ok(at(1, 0));
  link.sub.send(1, 1, body);
  link.lose();
  const next = host.use(new FakeLink())!;
  assert.equal(next.subs.length, 0);
  await sub.next();
  assert.equal(next.sub.request.credit, 1000);
});

test("links that send different messages for the same credit do not fill memory", async () => {
  const { link, host, sub, log } = open({ window: 1 << 20 });
  const body = encodeMessage({ bytes: new Uint8Array(100_000) }, 0);
  const old = link.sub;
  old.ok(at(1, 0));
  const next = host.use(new FakeLink())!;
  for (let seq = 1; old.credit > 0; seq++) old.send(1, seq, body);
  next.sub.ok(at(1, 0));
  next.sub.gap(at(1, 0), at(1, 12), "compacted");
  next.sub.send(1, 12, body);
  assert.ok(next.sub.closed, "the twelfth is one too many");
  void follow(sub, [], () => Promise.resolve());
  await settle();
  assert.deepEqual(next.sub.request.from, { kind: "after", position: at(1, 11) });
  assert.deepEqual(log, ["subscribed 1:0", "resumed 1:11"]);
});

test("what waits does not keep the buffers of other channels alive", async () => {
  const { link, sub } = open();
  link.sub.ok(at(1, 0));
  const body = encodeMessage({ text: "x" }, 0);
  for (let seq = 1; seq <= 99; seq += 3) {
    const chunk = new Uint8Array(65_536);
    for (let i = 0; i < 3; i++) {
      chunk.set(body, i * 1000);
      link.sub.send(1, seq + i, chunk.subarray(i * 1000, i * 1000 + body.length));
    }
  }
  const buffers = new Set<ArrayBufferLike>();
  let bytes = 0;
  for (let i = 0; i < 99; i++) {
    const { buffer } = (await sub.next()).value!.bytes;
    if (!buffers.has(buffer)) bytes += buffer.byteLength;
    buffers.add(buffer);
  }
  assert.ok(bytes < 4 * 65_536 + 1000, `${bytes} bytes are kept for 99 messages of three`);
  const chunk = new Uint8Array(65_536);
  chunk.set(body);
  link.sub.send(1, 100, chunk.subarray(0, body.length));
  assert.equal((await sub.next()).value!.bytes.buffer, chunk.buffer, "nothing is copied for a consumer that keeps up");
});

test("latest keeps the newest of each key for a consumer that is behind", async () => {
  const { link, sub, log } = open({ mode: "latest", window: 100 });
  link.sub.ok(at(1, 0));
  const put = (seq: number, key?: string) => link.sub.send(1, seq, encodeMessage({ text: String(seq), ...(key && { key }) }, 0));
  for (let seq = 1; seq <= 9; seq++) put(seq, ["a", "b"][seq % 3]);
  assert.deepEqual(link.sub.grants, [], "what nobody took is not granted again");
  void follow(sub, log);
  await settle();
  assert.deepEqual(log, ["subscribed 1:0", "7", "8", "9"]);
  put(20, "a");
  await settle();
  assert.equal(log.at(-1), "20");
});

test("datagrams take no credit, and what is too much for the window is dropped", async () => {
  const { link, sub, log } = open({ mode: "latest", datagram: true, window: 100 });
  link.sub.ok(at(1, 0));
  const put = (seq: number, key: string) => link.sub.send(1, seq, encodeMessage({ bytes: new Uint8Array(31), key }, 0), true); // 36 bytes
  for (let seq = 1; seq <= 6; seq++) put(seq, "key" + (seq % 2));
  put(3, "late");
  assert.equal(sub.dropped, 0);
  for (let seq = 10; seq < 20; seq++) put(seq, "key" + seq);
  assert.equal(sub.dropped, 10);
  const got: number[] = [];
  void (async () => {
    for await (const m of sub) got.push(m.position.seq);
  })();
  await settle();
  assert.deepEqual(got, [18, 19]);
  assert.deepEqual([link.sub.grants, link.sub.credit], [[], 100]);
  assert.deepEqual(log, ["subscribed 1:0"]);
});

test("of datagrams, one that is larger than the window stays, also behind a gap", async () => {
  const { link, sub, log } = open({ mode: "latest", datagram: true, window: 10 });
  link.sub.ok(at(1, 0));
  link.sub.gap(at(1, 0), at(2, 1), "epoch");
  for (let seq = 1; seq <= 3; seq++) link.sub.send(2, seq, encodeMessage({ bytes: new Uint8Array(31), key: "key" + seq }, 0), true);
  assert.equal((await sub.next()).value!.position.seq, 3);
  assert.deepEqual(log, ["subscribed 1:0", "gap 1:0-2:1 epoch reset"]);
});

test("what is dropped is a message, though holes stand before it", () => {
  const q = new Queue();
  const m = (seq: number) => new Message("demo:x", at(1, seq), new Uint8Array(1));
  const hole = (seq: number) => q.hole({ after: at(1, seq), next: at(1, seq + 2), reason: "trimmed" });
  hole(0);
  q.put(m(2), 1, "a");
  hole(2);
  q.put(m(4), 1, "b");
  q.put(m(5), 1, "a"); // the holes are neighbours now
  assert.ok(q.drop());
  assert.equal(q.bytes, 1);
  assert.deepEqual([q.take()?.hole?.after, q.take()?.hole?.after, q.take()?.message?.position], [at(1, 0), at(1, 2), at(1, 5)]);
  assert.ok(!q.take());
});
