// A whole client over sessions that are refused, silent, moved and lost: what was acknowledged
// stands, once and in order, and a slow reader gets exactly what stands.
import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../src/client.ts";
import { encodeMessage } from "../src/message.ts";
import { encodeDown } from "./codec/relay.ts";
import type { Up } from "./codec/relay.ts";
import { fakeWebSocket } from "./fake-session.ts";
import type { FakeRelay } from "./fake-session.ts";
import { virtualTime } from "./time.ts";

process.on("unhandledRejection", (err) => {
  throw err;
});

const campaigns = 25;
const messages = 60;

/** The home of one channel, as its sessions reach it. */
function home(random: () => number) {
  const log: string[] = [];
  const table = new Map<string, Map<number, number>>(); // by producer: the position of each number, 0: none
  const pumps = new Set<() => void>();

  function publish(f: Extract<Up, { type: "publish" }>, r: FakeRelay): void {
    const p = f.publication;
    const key = String(p.producer);
    const known = table.get(key) ?? new Map<number, number>();
    table.set(key, known);
    const refuse = (code: number) => r.send(encodeDown.end(f.ref, { code }));
    const x = random();
    if (x < 0.1) return refuse(50);
    if (!known.has(p.n)) {
      if (p.n !== known.size + 1) return refuse(40);
      known.set(p.n, p.void ? 0 : log.push(new TextDecoder().decode(p.body.subarray(2))));
      pumps.forEach((pump) => pump());
      if (x < 0.2) return refuse(43);
      if (x < 0.3) return r.end(undefined);
    }
    const seq = known.get(p.n)!;
    if (seq) r.send(encodeDown.ok(f.ref, { epoch: 1, seq }));
    else refuse(44);
  }

  function accept(r: FakeRelay): boolean {
    const readers = new Map<number, { seq: number; credit: number }>();
    const pump = () => {
      for (const [ref, to] of readers) {
        while (to.seq < log.length && to.credit > 0) {
          const body = encodeMessage({ text: log[to.seq]! }, 0);
          to.credit -= body.length;
          r.send(encodeDown.message(ref, 1, ++to.seq, body));
        }
      }
    };
    pumps.add(pump);
    r.behave = (f) => {
      const x = random();
      if (f.type === "hello") {
        if (x < 0.05) return; // silent
        if (x < 0.15) return r.end(undefined);
        r.send(encodeDown.welcome());
        if (x < 0.3) r.send(encodeDown.goAway({ reason: 60, deadline: 500 }));
      } else if (x < 0.02) r.end(undefined);
      else if (x < 0.04) r.send(encodeDown.end(0, { code: 60 }));
      else if (f.type === "ping" && x < 0.9) r.send(encodeDown.pong(f.ref));
      else if (f.type === "publish") publish(f, r);
      else if (f.type === "subscribe") {
        if (x < 0.1) return r.send(encodeDown.end(f.ref, { code: 32 }));
        const { from, credit } = f.request;
        const seq = from.kind === "after" ? from.position.seq : 0;
        r.send(encodeDown.ok(f.ref, { epoch: 1, seq }, { epoch: 1, seq: log.length }));
        readers.set(f.ref, { seq, credit });
        pump();
      } else if (f.type === "credit" && readers.has(f.ref)) {
        readers.get(f.ref)!.credit += f.bytes;
        pump();
      } else if (f.type === "cancel") readers.delete(f.ref);
    };
    return random() > 0.2;
  }
  return { log, accept };
}

for (let campaign = 1; campaign <= campaigns; campaign++) {
  test("campaign " + campaign, async (t) => {
    let seed = campaign * 7919;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const time = virtualTime(t);
    const { log, accept } = home(random);
    const relay = connect("https://h:444", { carriers: ["websocket"], WebSocket: fakeWebSocket(accept) });
    t.after(() => relay.close({ timeout: 0 }));
    const chat = relay.channel("chat:lobby");

    const got: string[] = [];
    const sub = chat.subscribe({ from: "start", window: 200 });
    const reading = (async () => {
      for await (const m of sub) {
        got.push(m.text());
        if (random() < 0.3) await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();

    const acked: string[] = [];
    let failed = 0;
    for (let i = 0; i < messages; i++) {
      const stop = new AbortController();
      if (random() < 0.05) setTimeout(() => stop.abort(), 40);
      chat.publish({ text: "m" + i }, stop).then(() => acked.push("m" + i), () => failed++);
      await time.advance(random() * 300);
    }
    for (let i = 0; i < 60 && (acked.length + failed < messages || got.length < log.length); i++) await time.advance(20_000);

    assert.equal(acked.length + failed, messages, "each has its outcome");
    const numbers = log.map((m) => +m.slice(1));
    assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b), "once, in order");
    assert.deepEqual(acked.filter((m) => !log.includes(m)), [], "what was acknowledged stands");
    assert.deepEqual(got, log, "what stands was read");
    sub.close();
    await reading;
  });
}
